package alertmanager_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/intake/alertmanager"
	"github.com/fettleops/fettle/intake/intaketest"
)

// answerWriter takes an answer without keeping it, as a connection would.
type answerWriter struct {
	h      http.Header
	status int
}

func (a *answerWriter) Header() http.Header         { return a.h }
func (a *answerWriter) WriteHeader(status int)      { a.status = status }
func (a *answerWriter) Write(p []byte) (int, error) { return len(p), nil }

func house(b *testing.B) *intaketest.House {
	return intaketest.Open(b, intaketest.Setup{
		Driver: alertmanager.Driver, Auth: "bearer: env:TOKEN", Secrets: intaketest.Secrets{"env:TOKEN": token},
		Limits: intake.Limits{Depth: 1 << 40},
	})
}

// BenchmarkDoor is one alert per request from 64 senders in process, each
// durable in SQLite before its answer. No socket: what is measured is the door
// and the log.
func BenchmarkDoor(b *testing.B) {
	h := house(b)
	var n atomic.Int64
	b.ReportAllocs()
	b.SetBytes(int64(len(body(1))))
	b.SetParallelism(64 / runtime.GOMAXPROCS(0))
	b.RunParallel(func(pb *testing.PB) {
		w := &answerWriter{h: http.Header{}}
		header := request(1).Header
		payload := body(int(n.Add(1)))
		for pb.Next() {
			r := httptest.NewRequest(http.MethodPost, "/in/"+intaketest.Name, bytes.NewReader(payload))
			r.Header = header
			clear(w.h)
			h.Door.ServeHTTP(w, r)
			if w.status != http.StatusAccepted {
				b.Errorf("answer %d", w.status)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "alerts/s")
}

// BenchmarkDoorHTTP is the same through 64 kept-alive connections over loopback.
func BenchmarkDoorHTTP(b *testing.B) {
	h := house(b)
	server := httptest.NewServer(h.Door)
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	defer client.CloseIdleConnections()
	var n atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(64 / runtime.GOMAXPROCS(0))
	b.RunParallel(func(pb *testing.PB) {
		payload := body(int(n.Add(1)))
		for pb.Next() {
			r, err := http.NewRequest(http.MethodPost, server.URL+"/in/"+intaketest.Name, bytes.NewReader(payload))
			if err != nil {
				b.Error(err)
				return
			}
			r.Header = request(1).Header
			resp, err := client.Do(r)
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body) // unread, the connection would not be used again
			if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusAccepted {
				b.Errorf("answer %d, %v", resp.StatusCode, err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "alerts/s")
}

// BenchmarkDecode is the decoder alone.
func BenchmarkDecode(b *testing.B) {
	s, err := alertmanager.Driver.Open(intaketest.YAML(""), intake.Env{Integration: intaketest.Name})
	if err != nil {
		b.Fatal(err)
	}
	r := &intake.Request{Integration: intaketest.Name, Body: body(1), ReceivedAt: intaketest.Now}
	b.ReportAllocs()
	b.SetBytes(int64(len(r.Body)))
	for b.Loop() {
		if d, err := s.Decode(r); err != nil || len(d.Signals) != 1 {
			b.Fatal(d, err)
		}
	}
}
