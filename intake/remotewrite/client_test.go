package remotewrite_test

import (
	"errors"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/exp/api/remote"
	writev2 "github.com/prometheus/client_golang/exp/api/remote/genproto/v2"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/intake/intaketest"
	"github.com/fettleops/fettle/intake/remotewrite"
	"github.com/fettleops/fettle/series/seriestest"
)

// TestClientLibrary sends with the client library of version 2.0, which fails
// when the answer does not say what was written, and tries again on what it
// may.
func TestClientLibrary(t *testing.T) {
	log := seriestest.NewLog()
	h := intaketest.Open(t, intaketest.Setup{
		Driver: remotewrite.Driver, Auth: "bearer: env:TOKEN", Secrets: intaketest.Secrets{"env:TOKEN": token}, Samples: log,
		Limits: intake.Limits{RetryAfter: 1}, // rounded up to a second
	})
	server := httptest.NewServer(h.Door)
	defer server.Close()
	api := client(t, server.URL+"/in/"+intaketest.Name)
	table := writev2.NewSymbolTable()
	message := func(histograms bool, labels ...string) *writev2.Request {
		table.Reset()
		ts := &writev2.TimeSeries{LabelsRefs: table.SymbolizeLabels(labels, nil)}
		if histograms {
			ts.Histograms = []*writev2.Histogram{{Timestamp: 1}}
		} else {
			ts.Samples = []*writev2.Sample{{Value: 1, Timestamp: 1}, {Value: 2, Timestamp: 2}}
		}
		return &writev2.Request{Timeseries: []*writev2.TimeSeries{ts}, Symbols: table.Symbols()}
	}
	good := message(false, "__name__", "up", "job", "node")
	stats, err := api.Write(t.Context(), remote.WriteV2MessageType, good)
	if err != nil || stats.Samples != 2 || stats.Histograms != 0 || stats.Exemplars != 0 {
		t.Errorf("written %+v, %v", stats, err)
	}
	stats, err = api.Write(t.Context(), remote.WriteV2MessageType, message(true, "__name__", "up"))
	if err == nil || !stats.NoDataWritten() {
		t.Errorf("histograms: written %+v, %v", stats, err)
	}
	if stats, err = api.Write(t.Context(), remote.WriteV2MessageType, &writev2.Request{Symbols: []string{""}}); err != nil {
		t.Errorf("nothing: written %+v, %v", stats, err)
	}
	log.Break(errors.New("disk is full"))
	retried := 0
	other := message(false, "__name__", "down")
	stats, err = api.Write(t.Context(), remote.WriteV2MessageType, other, remote.WithWriteRetryCallback(func(error) {
		retried++
		log.Break(nil)
	}))
	if err != nil || retried != 1 || stats.Samples != 2 {
		t.Errorf("after a failure of ours: written %+v, %d retries, %v", stats, retried, err)
	}
	if got, want := kept(t, h), line("up[{job node}] 0 ", 1, 1)+line("up[{job node}] 0 ", 2, 2)+line("down[] 0 ", 1, 1)+line("down[] 0 ", 2, 2); got != want {
		t.Errorf("kept\n%swant\n%s", got, want)
	}
}
