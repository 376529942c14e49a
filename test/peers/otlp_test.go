package peers

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/app"
	"github.com/fettleops/fettle/config"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/series"
)

const otelToken = "telemetrygen-writes-0123456789"

// otelHouse runs a whole Fettle that takes OTLP over HTTP and gRPC.
func otelHouse(t *testing.T) (a *app.App, http, grpc string) {
	t.Helper()
	t.Setenv("PEERS_OTEL_TOKEN", otelToken)
	c, err := config.Load("fettle.yaml", []byte(`
detect: {host: {enabled: false}}
integrations:
  - {name: otel, source: otlp, auth: {bearer: env:PEERS_OTEL_TOKEN}}
`))
	if err != nil {
		t.Fatal(err)
	}
	var listeners [2]net.Listener
	for i := range listeners {
		if listeners[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	ready := make(chan struct{})
	a, err = app.New(t.Context(), app.Options{
		Config: c, DataDir: t.TempDir(), Listener: listeners[0], ListenerGRPC: listeners[1],
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), Version: "test", Ready: func(string) { close(ready) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	<-ready
	return a, listeners[0].Addr().String(), listeners[1].Addr().String()
}

// kept is every sample in the log of a house, by series.
func kept(t *testing.T, a *app.App) map[string][]float64 {
	t.Helper()
	records, err := a.Samples.Read(t.Context(), 0, 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]float64{}
	for _, record := range records {
		if record.Kind != series.Samples {
			continue // what detection notes for itself
		}
		var r series.BatchReader
		if err := r.Open(record.Body); err != nil {
			t.Fatal(err)
		}
		for r.Next() {
			d, err := series.ParseKey(r.Key())
			if err != nil {
				t.Fatal(err)
			}
			service, _ := d.Label("service.name")
			zone, _ := d.Label("zone")
			name := fmt.Sprintf("%s %s %s %d", d.Metric, service, zone, d.Temporality)
			for _, p := range r.Points() {
				if age := time.Since(time.UnixMilli(p.At)); age < 0 || age > 10*time.Minute {
					t.Errorf("%s is %v old", name, age)
				}
				out[name] = append(out[name], p.Value)
			}
		}
	}
	return out
}

// TestTelemetrygenSends sends every kind of metric over both transports with
// OpenTelemetry's own exporters.
func TestTelemetrygenSends(t *testing.T) {
	peer.Long(t)
	a, http, grpc := otelHouse(t)
	want := map[string]int{}
	f := func(kind, temporality, token string, overHTTP bool, complaint string, series ...string) {
		t.Helper()
		const metrics = 3
		name := fmt.Sprintf("%s.%s.%v.%d", strings.ToLower(kind), temporality, overHTTP, len(want))
		args := []string{
			"metrics", "--otlp-insecure", "--metric-type", kind, "--metrics", strconv.Itoa(metrics), "--rate", "0", "--workers", "1", "--aggregation-temporality", temporality,
			"--service", "shop", "--otlp-metric-name", name, "--otlp-header", `Authorization="Bearer ` + token + `"`, "--telemetry-attributes", `zone="north"`,
			"--trace-id", "5b8efff798038103d269b633813fc60c", "--span-id", "eee19b7ec3c1b174",
		}
		if overHTTP {
			args = append(args, "--otlp-http", "--otlp-endpoint", http, "--otlp-http-url-path", "/in/otel/v1/metrics")
		} else {
			args = append(args, "--otlp-endpoint", grpc)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		out, err := peer.Telemetrygen(ctx, t, args...)
		if (err == nil) != (complaint == "") || !strings.Contains(out, complaint) {
			t.Errorf("%v: %v, want it to complain of %q:\n%s", args, err, complaint, out)
		}
		for _, s := range series {
			want[strings.Replace(s, "NAME", name, 1)] = metrics
		}
	}
	for _, overHTTP := range []bool{true, false} {
		f("Gauge", "cumulative", otelToken, overHTTP, "", "NAME shop north 1")
		f("Sum", "cumulative", otelToken, overHTTP, "", "NAME shop north 2")
		f("Sum", "delta", otelToken, overHTTP, "", "NAME shop north 3")
		f("Histogram", "cumulative", otelToken, overHTTP, "", "NAME.count shop north 2", "NAME.sum shop north 2")
		f("Histogram", "delta", otelToken, overHTTP, "", "NAME.count shop north 3", "NAME.sum shop north 3")
		f("ExponentialHistogram", "cumulative", otelToken, overHTTP, "OTLP partial success: 3 data points refused, the others kept")
		f("Gauge", "cumulative", "another-token-0123456789", overHTTP, map[bool]string{true: "401", false: "Unauthenticated"}[overHTTP])
	}
	got := kept(t, a)
	for name, n := range want {
		if len(got[name]) != n {
			t.Errorf("%s has %v, want %d samples", name, got[name], n)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s was not sent", name)
		}
	}
}
