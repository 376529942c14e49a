package house

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/fettleops/fettle/detect"
	"github.com/fettleops/fettle/detect/feature"
	"github.com/fettleops/fettle/detect/kernel/detector"
	"github.com/fettleops/fettle/internal/db/sqlite"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/series"
	"github.com/fettleops/fettle/store"
	"github.com/fettleops/fettle/store/blob"
)

// Tally counts what became of deliveries beside those acknowledged.
type Tally struct {
	Lost    atomic.Int64 // nobody answered
	Refused atomic.Int64 // the sender was told to try again
}

// Write posts a remote write body until it is acknowledged, as Prometheus
// does.
func (h *House) Write(ctx context.Context, contentType string, body []byte, n *Tally) error {
	for {
		code, err := h.write(ctx, contentType, body)
		switch {
		case err == nil && code == http.StatusNoContent:
			return nil
		case err == nil && code/100 == 4 && code != http.StatusTooManyRequests:
			return fmt.Errorf("the door answered %d, which no sender tries again", code)
		case err == nil:
			n.Refused.Add(1)
		default:
			n.Lost.Add(1)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(30 * time.Millisecond):
		}
	}
}

func (h *House) write(ctx context.Context, contentType string, body []byte) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.Base+"/in/metrics", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("Authorization", "Bearer "+WebhookToken)
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// Samples returns the bodies of the records of samples that the log holds, in
// order; the server may run.
func (h *House) Samples() (bodies [][]byte) {
	h.T.Helper()
	d, err := openFile(filepath.Join(h.Dir, "samples.db"))
	if err != nil {
		h.T.Fatal(err)
	}
	defer d.Close()
	rows, err := d.Query("SELECT body FROM sample_record WHERE kind = ? ORDER BY off", int64(series.Samples))
	if err != nil {
		h.T.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var b []byte
		if err := rows.Scan(&b); err != nil {
			h.T.Fatal(err)
		}
		bodies = append(bodies, b)
	}
	if err := rows.Err(); err != nil {
		h.T.Fatal(err)
	}
	return bodies
}

// Place returns the newest offset of the sample log and up to where it is
// detected and committed; the server may run.
func (h *House) Place() (last, committed int64, err error) {
	last, err = number(filepath.Join(h.Dir, "samples.db"), "SELECT last FROM sample_head WHERE part = 0")
	if err != nil {
		return 0, 0, err
	}
	committed, err = number(filepath.Join(h.Dir, "fettle.db"), "SELECT committed FROM detection WHERE part = 0")
	return last, committed, err
}

func number(path, query string) (n int64, err error) {
	d, err := openFile(path)
	if err != nil {
		return 0, err
	}
	defer d.Close()
	return n, d.QueryRow(query).Scan(&n)
}

// Detected waits until everything in the sample log is detected.
func (h *House) Detected(within time.Duration) {
	h.T.Helper()
	limit := time.Now().Add(within)
	for {
		last, committed, err := h.Place()
		if err == nil && committed >= last {
			return
		}
		if time.Now().After(limit) {
			h.Dump()
			h.T.Fatalf("after %v detection is at %d of %d (%v)", within, committed, last, err)
		}
		select {
		case <-h.done:
			h.T.Fatalf("the server ended while it detected: %v\n%s", h.cmd.ProcessState, h.Tail(10))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Findings are what detection left behind, by series as /series/ID names them.
type Findings struct {
	Readings  map[string][]detect.Reading
	Anomalies []ops.Anomaly // by ID
	Alerts    []string      // each telling of an anomaly in the signal log, sorted
	Incidents []string      // their groups, each as often as it has incidents, sorted
}

// Findings reads what detection left in a data directory whose server has
// stopped: from the store, and from the models' own snapshots.
func (h *House) Findings(ctx context.Context) Findings {
	h.T.Helper()
	must := func(err error) {
		if err != nil {
			h.T.Helper()
			h.T.Fatal(err)
		}
	}
	d, err := sqlite.Open(ctx, filepath.Join(h.Dir, "fettle.db"))
	must(err)
	defer func() { must(d.Close()) }()
	s := store.New(d, time.Now)
	key, err := blob.LoadOrCreateKey(h.Dir)
	must(err)
	blobs, err := blob.New(d, time.Now, key)
	must(err)
	s.SealSignalsWith(signals{blobs})
	none, err := feature.Compile(nil)
	must(err)
	p, err := detect.NewPipeline(detect.PipelineConfig{Dir: filepath.Join(h.Dir, "models")}, detect.PipelineDeps{
		Selection: detect.Select(none), Place: s, Findings: s, Signals: s, DB: d, Clock: time.Now, Logger: slog.New(slog.DiscardHandler),
		Detectors: detect.Detectors{New: func(string, detector.Settings) (detector.Detector, error) {
			return nil, errors.New("nothing is detected here")
		}},
	})
	must(err)
	from, to := time.UnixMilli(0), time.Now().Add(24*time.Hour)
	watched, err := p.Series(ctx, detect.SeriesFilter{})
	must(err)
	out := Findings{Readings: map[string][]detect.Reading{}}
	for _, w := range watched {
		out.Readings[w.ID], err = p.Readings(ctx, w.ID, from, to)
		must(err)
	}
	out.Anomalies, err = p.Anomalies(ctx, "", from, to, 1<<30)
	must(err)
	slices.SortFunc(out.Anomalies, func(a, b ops.Anomaly) int { return bytes.Compare([]byte(a.ID), []byte(b.ID)) })
	for after := int64(0); ; {
		messages, err := s.SignalsAfter(ctx, after, 1000)
		must(err)
		if len(messages) == 0 {
			break
		}
		for _, m := range messages {
			after = m.Seq
			for _, x := range m.Signals {
				if x.Alert != nil && x.Alert.Anomaly != nil {
					a := x.Alert.Anomaly
					out.Alerts = append(out.Alerts, fmt.Sprintf("%s %s %s to %s, %d points, grade %v: %s", a.ID, x.Alert.State, a.From, a.To, a.Points, a.Grade, x.Alert.Title))
				}
			}
		}
	}
	slices.Sort(out.Alerts)
	out.Incidents = h.Column("SELECT group_key FROM incident ORDER BY group_key")
	return out
}

// signals opens the signal log of a house as its server does.
type signals struct{ *blob.Blobs }

// Seal encrypts.
func (s signals) Seal(plain []byte) []byte { return s.Blobs.Seal("signal", plain) }

// Open decrypts.
func (s signals) Open(sealed []byte) ([]byte, error) { return s.Blobs.Open("signal", sealed) }
