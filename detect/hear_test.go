package detect_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/detect"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/job"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/series"
)

// ears is a queue that carries commands out at once, and answers what the
// room asks.
type ears struct {
	listeners map[ops.FactKind]job.Listener
	handler   job.Handler
	every     map[string]func(context.Context) error
	queued    []ops.Command
	windows   []ops.Occurrence
}

func (e *ears) Handle(_ ops.CommandKind, h job.Handler)       { e.handler = h }
func (e *ears) Hear(_ string, k ops.FactKind, l job.Listener) { e.listeners[k] = l }
func (e *ears) Resource(_ context.Context, id string) (ops.Resource, error) {
	return ops.Resource{ID: id, Aliases: []string{"host:" + id, "arn:x:" + id}}, nil
}

func (e *ears) Change(_ context.Context, id string) (ops.Change, error) {
	return ops.Change{ID: id, Number: 7, ResourceID: "db1"}, nil
}

func (e *ears) Spans(_ context.Context, r ops.Resource, _, _ time.Time) []ops.Occurrence {
	if r.Aliases[0] == "host:h1" {
		return e.windows
	}
	return nil
}

func (e *ears) Every(name string, _ time.Duration, f func(context.Context) error) {
	e.every[name] = f
}

func (e *ears) Enqueue(_ context.Context, _ db.Tx, c ...ops.Command) error {
	e.queued = append(e.queued, c...)
	return nil
}

func listen(l *lab) (*ears, *detect.Pipeline) {
	l.t.Helper()
	e := &ears{listeners: map[ops.FactKind]job.Listener{}, every: map[string]func(context.Context) error{}}
	p, err := detect.NewPipeline(l.config, detect.PipelineDeps{
		Log: l.log, Selection: l.fleet, Detectors: detect.Detectors{New: newEWMA, Load: loadEWMA}, Place: l.store, Findings: l.store, Signals: l.store,
		DB: l.core, Jobs: e, Asks: e, Clock: time.Now, Logger: l.logger,
	})
	must(l.t, err)
	p.Register(e)
	return e, p
}

// heldInLog lists the holds in the log.
func (l *lab) heldInLog() string {
	l.t.Helper()
	b, err := l.log.Bounds(context.Background())
	must(l.t, err)
	rs, err := l.log.Read(context.Background(), b.After, 1<<20)
	must(l.t, err)
	var out []string
	for _, r := range rs {
		var n struct {
			Hold *struct {
				ID       string
				Aliases  []string
				From, To int64
				Why, Key string
			}
		}
		if r.Kind != series.Hold {
			continue
		}
		must(l.t, json.Unmarshal(r.Body, &n))
		if h := n.Hold; h != nil {
			out = append(out, fmt.Sprintf("%s %v for %s: %s %s", h.ID, h.Aliases, time.Duration(h.To-h.From)*time.Millisecond, h.Why, h.Key))
		}
	}
	return strings.Join(out, "\n")
}

func TestFactsHold(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		e, _ := listen(l)
		seq := int64(0)
		hear := func(subject string, body ops.FactBody) {
			t.Helper()
			seq++
			f := ops.NewFact(subject, time.Now(), ops.SystemPrincipal, "", body)
			f.Seq = seq
			must(t, e.listeners[f.Kind](t.Context(), nil, f))
			for _, c := range e.queued {
				must(t, e.handler(t.Context(), c))
				must(t, e.handler(t.Context(), c)) // at least once
			}
			e.queued = nil
		}
		opened := time.Now()
		i := ops.Incident{ID: "1", Number: 1, ResourceID: "web1", State: ops.IncidentNew, OpenedAt: opened}
		alerts := []ops.Alert{{Resource: ops.ResourceRef{Aliases: []string{"host:web2", "name:odd"}}}}
		hear("incident/1", ops.IncidentOpenedBody{Incident: i, Alerts: alerts})
		time.Sleep(time.Hour)
		i.State = ops.IncidentResolved
		hear("incident/1", ops.IncidentResolvedBody{Incident: i})
		time.Sleep(time.Hour)
		hear("incident/1", ops.IncidentReopenedBody{Incident: i, Alerts: alerts})
		time.Sleep(time.Hour)
		i.State = ops.IncidentOnHold
		hear("incident/1", ops.IncidentMovedBody{Incident: i})
		i.State = ops.IncidentResolved
		hear("incident/1", ops.IncidentMovedBody{Incident: i})
		time.Sleep(48 * time.Hour)
		hear("incident/1", ops.IncidentReopenedBody{Incident: i}) // over for long: it is learned by now
		hear("incident/2", ops.IncidentOpenedBody{Incident: ops.Incident{ID: "2", OpenedAt: time.Now()}, Alerts: []ops.Alert{{Resource: ops.ResourceRef{Aliases: []string{"arn:x:y"}}}}})

		run := ops.Run{ID: "r", ChangeID: "7", StartedAt: time.Now(), State: ops.RunRunning}
		hear("change/7", ops.RunStartedBody{Run: run})
		time.Sleep(10 * time.Minute)
		hear("change/7", ops.RunMovedBody{Change: ops.Change{Number: 7, ResourceID: "db1", Run: &run}})
		run.State, run.FinishedAt = ops.RunRolledBack, time.Now()
		hear("change/7", ops.RunMovedBody{Change: ops.Change{Number: 7, ResourceID: "db1", Run: &run}})
		time.Sleep(time.Minute)
		hear("change/7", ops.ChangeEndedBody{Change: ops.Change{Number: 7, ResourceID: "db1", Run: &run}})
		hear("change/8", ops.ChangeEndedBody{Change: ops.Change{Number: 8, ResourceID: "db1"}}) // never began

		want := `incident/1 [host:web1 host:web2] for 24h0m0s: INC-1 is open INC-1
incident/1 [host:web1] for 1h0m0s: INC-1 is open INC-1
incident/1 [host:web1 host:web2] for 24h0m0s: INC-1 is open INC-1
incident/1 [host:web1] for 3h0m0s: INC-1 is open INC-1
change/7 [host:db1] for 24h0m0s: CHG-7 is carried out CHG-7
change/7 [host:db1] for 10m0s: CHG-7 was carried out CHG-7
change/7 [host:db1] for 10m0s: CHG-7 was carried out CHG-7`
		if got := l.heldInLog(); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

func TestMaintenanceHolds(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.start()
		l.append(records(hosts(3), 2, 0, 3, step, 4)...)
		l.settle()
		time.Sleep(2 * time.Second)
		l.halt()
		e, _ := listen(l)
		must(t, e.every["detect.windows"](t.Context()))
		if got := l.heldInLog(); got != "" {
			t.Errorf("held without a window: %s", got)
		}
		e.windows = []ops.Occurrence{{Window: "night", Start: time.Now().Add(time.Minute), End: time.Now().Add(2 * time.Hour)}}
		must(t, e.every["detect.windows"](t.Context()))
		time.Sleep(time.Minute)
		must(t, e.every["detect.windows"](t.Context())) // known
		want := fmt.Sprintf("window/night/%d [host:h1] for 1h59m0s: maintenance window night ", e.windows[0].Start.UnixMilli())
		if got := l.heldInLog(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})
}
