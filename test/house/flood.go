package house

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Flood sends alerts over several connections until it is told to end. Each
// alert belongs to one connection, which sends a delivery again until it is
// answered with 2xx, as Alertmanager does; so the last state that was
// acknowledged is the state that counts.
type Flood struct {
	house *House
	stop  chan struct{}
	wait  sync.WaitGroup
	Pause time.Duration // between two deliveries of a connection
	Moves time.Duration // between two changes of state by a connection; everything else repeats

	Acknowledged atomic.Int64 // alerts answered with 2xx
	Refused      atomic.Int64 // deliveries answered otherwise
	Lost         atomic.Int64 // deliveries without an answer

	mu    sync.Mutex
	final map[string]Alert // by fingerprint: as last acknowledged
}

// Alert is one alert as a sender knows it.
type Alert struct {
	Rule, Instance, Fingerprint string
	Firing                      bool
	StartsAt, EndsAt            time.Time
}

// NewFlood returns a flood of alerts that are none yet.
func NewFlood(h *House) *Flood {
	return &Flood{house: h, stop: make(chan struct{}), final: map[string]Alert{}, Pause: 2 * time.Millisecond, Moves: 500 * time.Millisecond}
}

// Start begins to send alerts of these rules for so many instances each, over
// so many connections. Which alerts a connection picks follows from the seed.
func (f *Flood) Start(seed uint64, connections, instances int, rules ...string) {
	for c := range connections {
		var own []Alert
		n := 0
		for i := range instances {
			for _, rule := range rules {
				if n++; n%connections == c {
					instance := fmt.Sprintf("web-%d", i)
					own = append(own, Alert{Rule: rule, Instance: instance, Fingerprint: rule + "-" + instance})
				}
			}
		}
		random := rand.New(rand.NewPCG(seed, uint64(c)))
		f.wait.Go(func() { f.run(random, own) })
	}
}

// End lets every connection finish: each alert is told to its owner's last
// word, half of them firing, and acknowledged. The server must be running.
func (f *Flood) End() {
	close(f.stop)
	f.wait.Wait()
}

// Final returns the alerts as last acknowledged.
func (f *Flood) Final() map[string]Alert { return f.final }

func (f *Flood) run(random *rand.Rand, own []Alert) {
	moved := time.Now()
	for {
		select {
		case <-f.stop:
			for i := range own {
				f.move(&own[i], random.IntN(2) == 0)
			}
			f.deliver(own)
			return
		case <-time.After(f.Pause):
		}
		batch := make([]Alert, 0, 4)
		for range 1 + random.IntN(4) {
			i := random.IntN(len(own))
			switch {
			case own[i].StartsAt.IsZero():
				f.move(&own[i], true)
			case time.Since(moved) > f.Moves:
				f.move(&own[i], !own[i].Firing)
				moved = time.Now()
			}
			batch = append(batch, own[i])
		}
		f.deliver(batch)
	}
}

// move makes an alert fire or resolve now; one that is in that state repeats it.
func (f *Flood) move(a *Alert, firing bool) {
	now := time.Now().UTC()
	if firing && (!a.Firing || a.StartsAt.IsZero()) {
		a.StartsAt, a.EndsAt = now, time.Time{}
	}
	if !firing && (a.Firing || a.StartsAt.IsZero()) {
		if a.StartsAt.IsZero() {
			a.StartsAt = now
		}
		a.EndsAt = now
	}
	a.Firing = firing
}

// Tell makes one alert fire or resolve, and returns when that is acknowledged.
func (f *Flood) Tell(a Alert, firing bool) { f.Try(context.Background(), nil, firing, a) }

// Try tells alerts in one delivery, and gives up when ctx ends or ended is
// closed. Those that were given up are not expected to be anywhere.
func (f *Flood) Try(ctx context.Context, ended <-chan struct{}, firing bool, alerts ...Alert) {
	f.mu.Lock()
	for i, a := range alerts {
		if last, known := f.final[a.Fingerprint]; known {
			alerts[i] = last
		}
	}
	f.mu.Unlock()
	for i := range alerts {
		f.move(&alerts[i], firing)
	}
	for !f.attempt(ctx, alerts) {
		select {
		case <-ctx.Done():
			return
		case <-ended:
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// deliver sends alerts until they are acknowledged.
func (f *Flood) deliver(alerts []Alert) {
	for !f.attempt(context.Background(), alerts) {
		time.Sleep(20 * time.Millisecond)
	}
}

// attempt sends alerts once and reports whether they were acknowledged.
func (f *Flood) attempt(ctx context.Context, alerts []Alert) bool {
	switch code, err := f.house.Post(ctx, Webhook(alerts...)); {
	case err != nil:
		f.Lost.Add(1)
	case code/100 != 2:
		f.Refused.Add(1)
	default:
		f.Acknowledged.Add(int64(len(alerts)))
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, a := range alerts {
			f.final[a.Fingerprint] = a
		}
		return true
	}
	return false
}

// Post delivers a body to the integration and returns the status.
func (h *House) Post(ctx context.Context, body []byte) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.Base+"/in/am", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+WebhookToken)
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// Webhook is the body Alertmanager sends of these alerts.
func Webhook(alerts ...Alert) []byte {
	type m = map[string]any
	var list []m
	for _, a := range alerts {
		status, ends := "firing", time.Time{}
		if !a.Firing {
			status, ends = "resolved", a.EndsAt
		}
		list = append(list, m{
			"status": status, "labels": m{"alertname": a.Rule, "instance": a.Instance, "severity": "critical"},
			"annotations": m{"summary": a.Rule + " of " + a.Instance}, "startsAt": a.StartsAt.Format(time.RFC3339Nano),
			"endsAt": ends.Format(time.RFC3339Nano), "generatorURL": "http://prom/graph", "fingerprint": a.Fingerprint,
		})
	}
	b, err := json.Marshal(m{
		"version": "4", "groupKey": "{}", "truncatedAlerts": 0, "status": "firing", "receiver": "fettle", "groupLabels": m{}, "commonLabels": m{},
		"commonAnnotations": m{}, "externalURL": "http://am:9093", "alerts": list,
	})
	if err != nil {
		panic("house: strings and times always marshal: " + err.Error())
	}
	return b
}
