package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fettleops/fettle/api"
	"github.com/fettleops/fettle/api/client"
	"github.com/fettleops/fettle/bench/server"
	"github.com/fettleops/fettle/ops"
)

const token = "bench-token-0123456789abcdef"

// house is the replicas of one target.
type house struct {
	options
	dir      string
	database string // URL; empty: the embedded one
	opens    time.Time
	replicas []*replica
}

// replica is one server and its address.
type replica struct {
	server.Process
	base string
}

func measure(o options, replicas int, database string) (f figures, err error) {
	dir, err := os.MkdirTemp("", "fettle-bench-")
	if err != nil {
		return f, err
	}
	defer os.RemoveAll(dir)
	h := &house{options: o, dir: dir, database: database, opens: time.Now().Add(o.lead + time.Second).Truncate(time.Second)}
	ctx, cancel := context.WithDeadline(context.Background(), h.opens.Add(o.patience))
	defer cancel()
	if err := h.write(); err != nil {
		return f, err
	}
	for range replicas {
		r, err := h.start(ctx)
		if r != nil {
			defer r.Stop()
		}
		if err != nil {
			return f, err
		}
	}
	placed, err := h.place(ctx)
	if err != nil {
		return f, err
	}
	time.Sleep(time.Until(h.opens))
	used := h.cpu()
	log, err := h.started(ctx)
	if err != nil {
		return f, err
	}
	cpu := h.cpu() - used
	if f, err = read(log, h.opens); err != nil {
		return f, err
	}
	f.placed, f.cpu = placed, cpu
	for _, r := range h.replicas {
		_, peak := r.Memory()
		f.memory = max(f.memory, peak)
	}
	return f, nil
}

// command is what every change runs: one write appends its line as a whole.
const command = `#!/bin/sh
echo "$1 $(date +%s%N)" >>LOG
`

func (h *house) log() string { return filepath.Join(h.dir, "started") }

// write writes the configuration and the files it names.
func (h *house) write() error {
	start := filepath.Join(h.dir, "start")
	files := map[string]string{
		start:                        strings.Replace(command, "LOG", h.log(), 1),
		filepath.Join(h.dir, "key"):  strings.Repeat("6b", 32),
		filepath.Join(h.dir, "yaml"): h.config(start),
	}
	for path, text := range files {
		mode := os.FileMode(0o600)
		if path == start {
			mode = 0o700
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			return err
		}
	}
	return nil
}

func (h *house) config(start string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `integrations:
  - {name: densify, source: densify, auth: {bearer: env:BENCH_TOKEN}, options: {currency: USD, per: month}}
detect:
  host: {enabled: false}
people:
  - {name: ann, roles: [approver]}
policies:
  approval: [{match: 'true', approvers: {role: approver, count: 1}}]
  limits: {automated_changes: %d/h, blast_radius: 100%%}
executors:
  - name: tool
    tool: command
    allow: [{name: start, command: "%s {id:i-[0-9]+}", estimate: 1s, idempotent: false}]
recommendations:
  rules:
    - {name: first, match: 'resource.labels.first == "yes"', executor: tool, action: start, args: ['${resource}'], risk: 0.1, verify_within: 1m, type: standard}
    - {name: all, match: 'true', executor: tool, action: start, args: ['${resource}'], risk: 0.1, verify_within: 1m}
`, h.changes+1, start)
	if h.database != "" {
		fmt.Fprintf(&b, "store: {postgres: env:BENCH_POSTGRES}\nserver: {data_key: 'file:%s'}\n", filepath.Join(h.dir, "key"))
	}
	b.WriteString("windows:\n")
	for w := range h.windows {
		fmt.Fprintf(&b, "  - {name: w%d, schedule: 'at(%s)', duration: 4h, time_zone: UTC, applies: 'resource.labels.window == \"w%d\"'}\n",
			w, h.opens.UTC().Format("2006-01-02T15:04:05"), w)
	}
	b.WriteString("resources:\n")
	for i := range h.changes {
		fmt.Fprintf(&b, "  - {id: web-%d, kind: host, aliases: ['arn:aws:ec2:eu-west-1:123456789012:instance/i-%d'], labels: {window: w%d", i, i, i/10%h.windows)
		if needs(i+1) == i {
			b.WriteString(", first: 'yes'") // standard, because nothing measures these and what nobody can judge waits for a person
		}
		b.WriteString("}")
		if needs(i) != i {
			fmt.Fprintf(&b, ", depends_on: [web-%d]", needs(i))
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// start adds a replica. What it returns must be stopped, also with an error.
func (h *house) start(ctx context.Context) (*replica, error) {
	address, err := server.FreeAddress()
	if err != nil {
		return nil, err
	}
	r := &replica{base: "http://" + address}
	data := filepath.Join(h.dir, fmt.Sprintf("data%d", len(h.replicas)))
	if err := os.Mkdir(data, 0o700); err != nil {
		return nil, err
	}
	h.replicas = append(h.replicas, r)
	err = r.Run(filepath.Join(data, "log"), h.fettle, []string{"serve", "--config", filepath.Join(h.dir, "yaml"), "--data-dir", data, "--listen", address},
		[]string{"BENCH_TOKEN=" + token, "BENCH_POSTGRES=" + h.database})
	if err != nil {
		return nil, err
	}
	return r, r.Await(ctx, r.base+"/healthz")
}

// place recommends every change, has a person approve each, and waits until all
// are scheduled. It returns how many a second were.
func (h *house) place(ctx context.Context) (float64, error) {
	secret, err := os.ReadFile(filepath.Join(h.dir, "data0", "admin.token"))
	if err != nil {
		return 0, err
	}
	admin := client.New(h.replicas[0].base, strings.TrimSpace(string(secret)))
	made, err := admin.CreateToken(ctx, api.NewToken{For: "ann"})
	if err != nil {
		return 0, err
	}
	began := time.Now()
	const batch = 500
	for from := 0; from < h.changes; from += batch {
		if err := h.recommend(ctx, h.replicas[from/batch%len(h.replicas)], from, min(from+batch, h.changes)); err != nil {
			return 0, err
		}
	}
	for {
		waiting, err := list(ctx, admin, ops.ChangeAuthorize)
		if err != nil {
			return 0, err
		}
		if err := h.approve(ctx, made.Token, waiting); err != nil {
			return 0, err
		}
		scheduled, err := list(ctx, admin, ops.ChangeScheduled)
		if err != nil {
			return 0, err
		}
		if n := len(scheduled); n == h.changes {
			return float64(n) / time.Since(began).Seconds(), nil
		} else if time.Now().After(h.opens.Add(-5 * time.Second)) {
			return 0, fmt.Errorf("%d of %d changes waited for their window when it opened; raise -lead", n, h.changes)
		}
		time.Sleep(time.Second)
	}
}

// approve approves changes at all replicas, eight at a time.
func (h *house) approve(ctx context.Context, token string, changes []api.ChangeView) error {
	const hands = 8
	errs := make([]error, hands)
	var wg sync.WaitGroup
	for hand := range hands {
		wg.Go(func() {
			ann := client.New(h.replicas[hand%len(h.replicas)].base, token)
			for i := hand; i < len(changes) && errs[hand] == nil; i += hands {
				_, errs[hand] = ann.Decide(ctx, changes[i].ID, ops.Approved, changes[i].PlanDigest, "", "api")
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// recommend posts the recommendations of resources from to to.
func (h *house) recommend(ctx context.Context, r *replica, from, to int) error {
	var list []map[string]any
	for i := from; i < to; i++ {
		list = append(list, map[string]any{
			"resourceId": fmt.Sprintf("i-%d", i), "name": fmt.Sprintf("web-%d", i), "accountIdRef": "123456789012", "regionId": "eu-west-1",
			"serviceType": "EC2", "currentType": "m5.xlarge", "recommendedType": "m5.large", "recommendationType": "Downsize", "savingsEstimate": 61.2,
		})
	}
	body, err := json.Marshal(list)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.base+"/in/densify/load-insights", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("the recommendations were answered %s", resp.Status)
	}
	return nil
}

// list lists the changes in a state.
func list(ctx context.Context, c *client.Client, state ops.ChangeState) (all []api.ChangeView, err error) {
	query := url.Values{"state": {string(state)}, "limit": {"1000"}}
	for {
		page, err := c.Changes(ctx, query)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if page.Next == "" {
			return all, nil
		}
		query.Set("cursor", page.Next)
	}
}

// settle is how long the file must rest after the last change has started: a
// second start would come then.
const settle = 10 * time.Second

// started waits until every change has started and returns what they wrote.
func (h *house) started(ctx context.Context) ([]byte, error) {
	for {
		log, err := os.ReadFile(h.log())
		if err != nil && !os.IsNotExist(err) {
			return nil, err
		}
		if bytes.Count(log, []byte("\n")) >= h.changes {
			time.Sleep(settle)
			return os.ReadFile(h.log())
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%d of %d changes had started when patience ended: %w\n%s", bytes.Count(log, []byte("\n")), h.changes, ctx.Err(), h.replicas[0].Tail())
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// cpu is the processor time of all replicas so far.
func (h *house) cpu() (sum time.Duration) {
	for _, r := range h.replicas {
		sum += r.CPU()
	}
	return sum
}
