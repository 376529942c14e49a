package otlp_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	collector "go.opentelemetry.io/proto/slim/otlp/collector/metrics/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/intake/intaketest"
	"github.com/fettleops/fettle/intake/otlp"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/series/seriestest"
)

const export = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"

// serve serves a door over gRPC for the length of a test, and connects to it.
func serve(t testing.TB, door otlp.Door) (*grpc.ClientConn, *otlp.Server) {
	t.Helper()
	return serveTLS(t, door, nil, insecure.NewCredentials())
}

func serveTLS(t testing.TB, door otlp.Door, secure *tls.Config, client credentials.TransportCredentials) (*grpc.ClientConn, *otlp.Server) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := otlp.NewServer(door, secure)
	var served sync.WaitGroup
	served.Go(func() {
		if err := s.Serve(l); err != nil {
			t.Error(err)
		}
	})
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(client))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		served.Wait()
	})
	return conn, s
}

func holder(ctx context.Context, pairs ...string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, pairs...)
}

// call exports a request and returns what the sender hears.
func call(ctx context.Context, conn *grpc.ClientConn, m any, options ...grpc.CallOption) (*collector.ExportMetricsServiceResponse, *status.Status, time.Duration) {
	out := new(collector.ExportMetricsServiceResponse)
	err := conn.Invoke(ctx, export, m, out, options...)
	s := status.Convert(err)
	for _, d := range s.Details() {
		if retry, ok := d.(*errdetails.RetryInfo); ok {
			return out, s, retry.RetryDelay.AsDuration()
		}
	}
	return out, s, 0
}

func TestExport(t *testing.T) {
	h := house(t, "")
	conn, _ := serve(t, h.Door)
	ctx := holder(t.Context(), "authorization", "Bearer "+token)
	m := request(gauge("m", number(minute, 1, text("a", "b")), number(minute+1e9, 2, text("a", "b"))))
	for _, options := range [][]grpc.CallOption{nil, {grpc.UseCompressor(gzip.Name)}, nil} { // the same again changes nothing
		out, s, _ := call(ctx, conn, m, options...)
		if s.Code() != codes.OK || out.PartialSuccess != nil {
			t.Fatalf("%v, %v", s, out)
		}
		want := `m "" [gauge] {a="b", host.name="web-1"} at 1795255260000 is 1` + "\n" + `m "" [gauge] {a="b", host.name="web-1"} at 1795255261000 is 2`
		if got := strings.Join(inLog(t, h), "\n"); got != want {
			t.Fatalf("got\n%s\nwant\n%s", got, want)
		}
	}
	if out, s, _ := call(ctx, conn, new(collector.ExportMetricsServiceRequest)); s.Code() != codes.OK || out.PartialSuccess != nil {
		t.Errorf("%v, %v to an empty request", s, out)
	}
	out, s, _ := call(ctx, conn, request(gauge("", number(minute, 1)), gauge("kept", number(minute, 1))))
	if s.Code() != codes.OK || out.PartialSuccess.GetRejectedDataPoints() != 1 || !strings.Contains(out.PartialSuccess.GetErrorMessage(), "send the name of the metric") {
		t.Errorf("%v, %v to a partial success", s, out)
	}
	if got := inLog(t, h); len(got) != 3 || !strings.HasPrefix(got[2], "kept ") {
		t.Errorf("%q", got)
	}
}

func TestTLS(t *testing.T) {
	h := house(t, "")
	web := httptest.NewTLSServer(nil) // for its certificate
	defer web.Close()
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate())
	secure := &tls.Config{Certificates: web.TLS.Certificates, MinVersion: tls.VersionTLS12}
	ctx := holder(t.Context(), "authorization", "Bearer "+token)
	f := func(client credentials.TransportCredentials, want codes.Code) {
		t.Helper()
		conn, _ := serveTLS(t, h.Door, secure, client)
		if _, s, _ := call(ctx, conn, request(gauge("m", number(minute, 1)))); s.Code() != want {
			t.Errorf("%v, want %v", s, want)
		}
	}
	f(credentials.NewClientTLSFromCert(roots, "example.com"), codes.OK)
	f(credentials.NewClientTLSFromCert(roots, "other.example.org"), codes.Unavailable)
	f(insecure.NewCredentials(), codes.Unavailable)
}

// TestCredentials knows three integrations by their credentials.
func TestCredentials(t *testing.T) {
	log := seriestest.NewLog()
	under := intaketest.Open(t, intaketest.Setup{Driver: otlp.Driver, Auth: "bearer: env:TOKEN", Secrets: intaketest.Secrets{"env:TOKEN": token}, Samples: log})
	counters, err := intake.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	door, err := intake.Open(t.Context(), intake.Options{
		DB: under.DB, Log: under.Store, Samples: log, Drivers: []intake.Driver{otlp.Driver}, Metrics: counters,
		Clock: func() time.Time { return intaketest.Now }, Logger: slog.New(slog.DiscardHandler),
		Secret: func(_ context.Context, ref string) (string, error) { return "secret-of-" + ref[len("env:"):], nil },
		Integrations: []intake.Integration{
			{Name: "by-bearer", Source: "otlp", Auth: intaketest.YAML("bearer: env:B")},
			{Name: "by-basic", Source: "otlp", Auth: intaketest.YAML("basic: {username: user, password: env:P}")},
			{Name: "by-header", Source: "otlp", Auth: intaketest.YAML("header: {name: X-Api-Key, value: env:H}")},
			{Name: "by-hmac", Source: "otlp", Auth: intaketest.YAML("hmac: {secret: env:M}")},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	conn, _ := serve(t, door)
	n := uint64(0)
	f := func(want string, pairs ...string) {
		t.Helper()
		n++
		_, s, retry := call(holder(t.Context(), pairs...), conn, request(gauge("m", number(minute+n*1e9, 1))))
		if want == "" {
			if s.Code() != codes.Unauthenticated || retry != 0 || strings.Contains(s.Message(), "by-") {
				t.Errorf("%v: %v", pairs, s)
			}
			return
		}
		records, err := log.Read(t.Context(), 0, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if s.Code() != codes.OK || len(records) == 0 || !strings.HasPrefix(records[len(records)-1].Dedupe, want+"/") {
			t.Errorf("%v: %v, %d records", pairs, s, len(records))
		}
	}
	f("by-bearer", "authorization", "Bearer secret-of-B")
	f("by-basic", "authorization", "Basic dXNlcjpzZWNyZXQtb2YtUA==")
	f("by-header", "x-api-key", "secret-of-H")
	f("")
	f("", "authorization", "Bearer secret-of-H")
	f("", "authorization-bin", "Bearer secret-of-B")
	f("", "x-api-key", "secret-of-H", "x-api-key", "secret-of-H")
	f("", "x-hub-signature-256", "sha256=00") // a head passes, the body does not

	// Without an integration of the source the answer is the same.
	other := intaketest.Open(t, intaketest.Setup{Driver: intake.Define("other", otlp.Open), Auth: "bearer: env:TOKEN", Secrets: intaketest.Secrets{"env:TOKEN": token}, Samples: log})
	conn, _ = serve(t, other.Door)
	f("", "authorization", "Bearer "+token)
}

// bytesCodec sends bytes as they are.
type bytesCodec struct{ encoding.Codec }

func (bytesCodec) Marshal(v any) ([]byte, error)   { return v.([]byte), nil }
func (bytesCodec) Unmarshal(_ []byte, _ any) error { return nil }
func (bytesCodec) Name() string                    { return "proto" }

func TestErrors(t *testing.T) {
	log := seriestest.NewLog()
	h := intaketest.Open(t, intaketest.Setup{
		Driver: otlp.Driver, Auth: "bearer: env:TOKEN", Options: "max_decompressed: 1000", Secrets: intaketest.Secrets{"env:TOKEN": token}, Samples: log,
	})
	conn, _ := serve(t, h.Door)
	ctx := holder(t.Context(), "authorization", "Bearer "+token)
	f := func(body []byte, code codes.Code, retry bool) {
		t.Helper()
		_, s, after := call(ctx, conn, body, grpc.ForceCodec(bytesCodec{}))
		if s.Code() != code || (after > 0) != retry || s.Message() == "" {
			t.Errorf("%v, again after %s; want %v", s, after, code)
		}
	}
	good := encode(t, request(gauge("m", number(minute, 1))), protobuf)
	f([]byte("<html>"), codes.InvalidArgument, false)
	f(good[:len(good)-1], codes.InvalidArgument, false)
	f(make([]byte, 1001), codes.ResourceExhausted, false)
	log.Break(errors.New("disk is full"))
	f(good, codes.Unavailable, true)
	log.Break(nil)
	if got := inLog(t, h); len(got) > 0 {
		t.Errorf("%q was kept", got)
	}
	if _, s, _ := call(ctx, conn, request(gauge("first", number(minute, 1)))); s.Code() != codes.OK {
		t.Error(s)
	}
	log.Limit(1)
	f(good, codes.Unavailable, true)
	log.Limit(0)

	// What is not there is not there, whoever asks.
	for _, method := range []string{
		"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "/opentelemetry.proto.collector.trace.v1.TraceService/Export", "/grpc.health.v1.Health/Check",
	} {
		if err := conn.Invoke(ctx, method, good, nil, grpc.ForceCodec(bytesCodec{})); status.Code(err) != codes.Unimplemented {
			t.Errorf("%s: %v", method, err)
		}
	}
	// A call without a message.
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, export)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(new(collector.ExportMetricsServiceResponse)); status.Code(err) != codes.InvalidArgument {
		t.Errorf("%v to no message", err)
	}
}

// TestMessagesBeyondTheLimit sends a byte more than a message may have, and the
// same in a few thousand bytes of gzip.
func TestMessagesBeyondTheLimit(t *testing.T) {
	peer.Long(t)
	conn, _ := serve(t, house(t, "").Door)
	ctx := holder(t.Context(), "authorization", "Bearer "+token)
	body := make([]byte, otlp.MaxMessage+1)
	for _, options := range [][]grpc.CallOption{{grpc.ForceCodec(bytesCodec{})}, {grpc.ForceCodec(bytesCodec{}), grpc.UseCompressor(gzip.Name)}} {
		if _, s, after := call(ctx, conn, body, options...); s.Code() != codes.ResourceExhausted || after > 0 || !strings.Contains(s.Message(), "67108864") {
			t.Errorf("%v, again after %s", s, after)
		}
	}
}

// TestStrangersAreRefusedBeforeTheirMessage announces a message and sends none.
func TestStrangersAreRefusedBeforeTheirMessage(t *testing.T) {
	conn, _ := serve(t, house(t, "").Door)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, export)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(new(collector.ExportMetricsServiceResponse)); status.Code(err) != codes.Unauthenticated {
		t.Errorf("%v", err)
	}
}

// slowDoor answers when it is told to.
type slowDoor struct {
	otlp.Door
	entered, leave chan struct{}
}

func (d slowDoor) DeliverAs(ctx context.Context, source string, header http.Header, media string, body []byte) (intake.Answer, error) {
	close(d.entered)
	<-d.leave
	return d.Door.DeliverAs(ctx, source, header, media, body)
}

func TestShutdownWaitsForCallsInHand(t *testing.T) {
	h := house(t, "")
	door := slowDoor{h.Door, make(chan struct{}), make(chan struct{})}
	conn, server := serve(t, door)
	ctx := holder(t.Context(), "authorization", "Bearer "+token)
	heard := make(chan codes.Code, 1)
	go func() {
		_, s, _ := call(ctx, conn, request(gauge("m", number(minute, 1))))
		heard <- s.Code()
	}()
	<-door.entered
	stopped := make(chan error, 1)
	go func() { stopped <- server.Shutdown(t.Context()) }()
	select {
	case err := <-stopped:
		t.Fatalf("stopped with a call in hand: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(door.leave)
	if code := <-heard; code != codes.OK {
		t.Errorf("the call in hand ended with %v", code)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if n := len(inLog(t, h)); n != 1 {
		t.Errorf("%d samples", n)
	}
}

func TestShutdownCutsOffWhatDoesNotEnd(t *testing.T) {
	door := slowDoor{house(t, "").Door, make(chan struct{}), make(chan struct{})}
	conn, server := serve(t, door)
	go func() { call(holder(context.Background(), "authorization", "Bearer "+token), conn, request()) }()
	<-door.entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	time.AfterFunc(50*time.Millisecond, func() { close(door.leave) })
	if err := server.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestAPanicIsOursAndCanBeRepeated(t *testing.T) {
	conn, _ := serve(t, panicDoor{house(t, "").Door})
	_, s, after := call(holder(t.Context(), "authorization", "Bearer "+token), conn, request())
	if s.Code() != codes.Unavailable || after <= 0 {
		t.Errorf("%v, again after %s", s, after)
	}
}

// panicDoor fails as a door does whose source panicked.
type panicDoor struct{ otlp.Door }

func (panicDoor) DeliverAs(context.Context, string, http.Header, string, []byte) (intake.Answer, error) {
	return intake.Answer{}, fmt.Errorf("a delivery panicked: %w", ops.ErrInternal)
}
