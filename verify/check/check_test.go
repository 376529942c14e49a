package check_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/aws/smithy-go/encoding/cbor"

	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/verify/check"
)

var t0 = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func subject() check.Subject {
	return check.Subject{Change: ops.Change{ID: "c1", ResourceID: "r1"}, Since: t0, Now: t0.Add(5 * time.Minute)}
}

func TestHTTP(t *testing.T) {
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ok":
			_, _ = w.Write([]byte("all is well"))
		case "/busy":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/moved":
			http.Redirect(w, r, "http://elsewhere.example/", http.StatusFound)
		case "/long":
			_, _ = w.Write(make([]byte, 2<<20))
		case "/slow":
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
	}))
	defer srv.Close()
	defer close(release)
	here := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	f := func(h check.HTTP, want check.Health, says string) {
		t.Helper()
		c, err := check.OpenHTTP(h)
		if err != nil {
			t.Fatal(err)
		}
		got, text := c.Look(t.Context(), subject())
		if got != want || !strings.Contains(text, says) || strings.Contains(text, "hunter2") {
			t.Errorf("%s: %s, %q; want %s, %q", h.URL, got, text, want, says)
		}
	}
	f(check.HTTP{URL: srv.URL + "/ok", Allow: here}, check.Passing, "status 200")
	f(check.HTTP{URL: srv.URL + "/ok", Allow: here, Body: "is well"}, check.Passing, "")
	f(check.HTTP{URL: srv.URL + "/ok", Allow: here, Body: "is ill"}, check.Failing, `does not contain "is ill"`)
	f(check.HTTP{URL: srv.URL + "/ok", Allow: here, Status: 204}, check.Failing, "status 200, expected 204")
	f(check.HTTP{URL: srv.URL + "/busy", Allow: here}, check.Failing, "status 503, expected 200 to 299")
	f(check.HTTP{URL: srv.URL + "/busy", Allow: here, Status: 503}, check.Passing, "")
	f(check.HTTP{URL: srv.URL + "/long", Allow: here}, check.Failing, "longer than")
	f(check.HTTP{URL: srv.URL + "/moved?token=hunter2", Allow: here}, check.Unknown, "another host")
	f(check.HTTP{URL: srv.URL + "/slow", Allow: here, Timeout: 20 * time.Millisecond}, check.Unknown, "no answer")
	f(check.HTTP{URL: srv.URL + "/ok"}, check.Unknown, "address refused")
	f(check.HTTP{URL: strings.Replace(srv.URL, "127.0.0.1", "localhost", 1) + "/ok"}, check.Unknown, "address refused")
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	f(check.HTTP{URL: gone.URL, Allow: here}, check.Unknown, "no answer")

	for _, bad := range []check.HTTP{{URL: ""}, {URL: "ftp://x/"}, {URL: "https://"}, {URL: "https://me:hunter2@x/"}, {URL: "https://x/", Status: 9}} {
		if _, err := check.OpenHTTP(bad); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v opens, or shows a secret: %v", bad.Status, err)
		}
	}
}

type measured []ops.Series

func (m measured) Recent(_ context.Context, resource string, from, to time.Time) ([]ops.Series, error) {
	if resource != "r1" {
		return nil, fmt.Errorf("resource %s: %w", resource, ops.ErrNotFound)
	}
	var out []ops.Series
	for _, s := range m {
		cut := s
		cut.Points = nil
		for _, p := range s.Points {
			if !p.At.Before(from) && p.At.Before(to) {
				cut.Points = append(cut.Points, p)
			}
		}
		out = append(out, cut)
	}
	return out, nil
}

func TestMetric(t *testing.T) {
	series := func(metric, label string, minutes ...float64) ops.Series {
		s := ops.Series{SeriesID: ops.SeriesID{Resource: "r1", Metric: metric, Labels: map[string]string{"l": label}}}
		for i := 0; i+1 < len(minutes); i += 2 {
			s.Points = append(s.Points, ops.Point{At: t0.Add(time.Duration(minutes[i] * float64(time.Minute))), Value: minutes[i+1]})
		}
		return s
	}
	samples := measured{series("errors", "a", -1, 9, 1, 0.5, 4, 0.01), series("errors", "b", 4, 0.02), series("old", "a", -1, 7), series("load", "a", 3, 2)}
	f := func(condition string, late time.Duration, want check.Health, says string) {
		t.Helper()
		c, err := check.OpenMetric(condition, samples)
		if err != nil {
			t.Fatal(err)
		}
		s := subject()
		s.Now = s.Now.Add(late)
		got, text := c.Look(t.Context(), s)
		if got != want || !strings.Contains(text, says) {
			t.Errorf("%s: %s, %q; want %s, %q", condition, got, text, want, says)
		}
	}
	f("errors < 0.05", 0, check.Passing, "errors is 0.02")
	f("errors < 0.015", 0, check.Failing, "does not hold")
	f("errors < 0.05 && load > 1.0", 0, check.Passing, "")
	f("old < 9.0", 0, check.Unknown, "old has not been measured since the change")
	f("never > 1.0", 0, check.Unknown, "never has not been measured")
	f("errors < 0.05", 20*time.Minute, check.Unknown, "last measured 21m0s ago")
	for _, bad := range []string{"", "errors <", "1.0 < 2.0", "errors + 1.0", "trend.errors < 1.0"} {
		if _, err := check.OpenMetric(bad, samples); err == nil {
			t.Errorf("%q opens", bad)
		}
	}
	c, err := check.OpenMetric("errors < 1.0", samples)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := c.Look(t.Context(), check.Subject{}); got != check.Unknown {
		t.Errorf("without a resource: %s", got)
	}
}

// alarms is CloudWatch as far as DescribeAlarms goes, in Smithy's RPC v2 CBOR,
// which it insists on.
type alarms struct {
	states map[string]string // metric alarms
	composite,
	refusal string
	asked []string
}

func (a *alarms) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("smithy-protocol", "rpc-v2-cbor")
	w.Header().Set("Content-Type", "application/cbor")
	refuse := func(status int, code string) {
		w.WriteHeader(status)
		_, _ = w.Write(cbor.Encode(cbor.Map{"__type": cbor.String("com.amazonaws.cloudwatch#" + code), "message": cbor.String("no")}))
	}
	var raw strings.Builder
	if _, err := fmt.Fprint(&raw, r.Header.Get("Authorization")); err != nil || !strings.Contains(raw.String(), "eu-central-1/monitoring/aws4_request") {
		refuse(http.StatusForbidden, "AccessDeniedException")
		return
	}
	if r.Method != http.MethodPost || r.URL.Path != "/service/GraniteServiceVersion20100801/operation/DescribeAlarms" || r.Header.Get("smithy-protocol") != "rpc-v2-cbor" {
		refuse(http.StatusBadRequest, "UnknownOperationException")
		return
	}
	if a.refusal != "" {
		refuse(http.StatusBadRequest, a.refusal)
		return
	}
	body := make([]byte, r.ContentLength)
	if _, err := r.Body.Read(body); err != nil && err.Error() != "EOF" {
		refuse(http.StatusBadRequest, "SerializationException")
		return
	}
	v, err := cbor.Decode(body)
	in, ok := v.(cbor.Map)
	if err != nil || !ok {
		refuse(http.StatusBadRequest, "SerializationException")
		return
	}
	names, _ := in["AlarmNames"].(cbor.List)
	kinds, _ := in["AlarmTypes"].(cbor.List)
	metric, composite := cbor.List{}, cbor.List{}
	for _, n := range names {
		name := string(n.(cbor.String))
		a.asked = append(a.asked, name)
		one := cbor.Map{"AlarmName": cbor.String(name), "StateValue": cbor.String(a.states[name]), "StateReason": cbor.String("Threshold Crossed")}
		switch {
		case a.states[name] == "":
		case name == a.composite:
			for _, k := range kinds { // left out, composite alarms are not answered
				if k == cbor.String("CompositeAlarm") {
					composite = append(composite, one)
				}
			}
		default:
			metric = append(metric, one)
		}
	}
	_, _ = w.Write(cbor.Encode(cbor.Map{"MetricAlarms": metric, "CompositeAlarms": composite}))
}

func TestAlarm(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	peer := &alarms{states: map[string]string{"good": "OK", "bad": "ALARM", "new": "INSUFFICIENT_DATA", "whole": "ALARM"}, composite: "whole"}
	srv := httptest.NewServer(peer)
	defer srv.Close()
	open := func(name string) check.Check {
		t.Helper()
		c, err := check.OpenAlarm(t.Context(), check.Alarm{Name: name, Config: awsx.Config{Region: "eu-central-1", Endpoint: srv.URL}}, awsx.Env{Session: "verify"})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	f := func(name string, want check.Health, says string) {
		t.Helper()
		got, text := open(name).Look(t.Context(), subject())
		if got != want || !strings.Contains(text, says) {
			t.Errorf("%s: %s, %q; want %s, %q", name, got, text, want, says)
		}
	}
	f("good", check.Passing, "alarm good is OK")
	f("bad", check.Failing, "alarm bad is ALARM: Threshold Crossed")
	f("whole", check.Failing, "alarm whole is ALARM")
	f("new", check.Unknown, "INSUFFICIENT_DATA")
	f("none", check.Unknown, "there is no alarm none")
	if len(peer.asked) != 5 {
		t.Errorf("CloudWatch was asked for %v", peer.asked)
	}
	peer.refusal = "AccessDeniedException"
	f("good", check.Unknown, "AccessDenied")
	srv.Close()
	f("good", check.Unknown, "no answer")

	for _, bad := range []check.Alarm{{}, {Name: "a", Config: awsx.Config{Role: "admin"}}, {Name: "a", Config: awsx.Config{Endpoint: "cloudwatch"}}} {
		if _, err := check.OpenAlarm(t.Context(), bad, awsx.Env{}); err == nil {
			t.Errorf("%+v opens", bad)
		}
	}
}

// TestTheAlarmFakeRefuses proves by raw calls what the fake insists on.
func TestTheAlarmFakeRefuses(t *testing.T) {
	srv := httptest.NewServer(&alarms{})
	defer srv.Close()
	f := func(path, protocol, authorization string, body []byte, want int) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+path, strings.NewReader(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("smithy-protocol", protocol)
		req.Header.Set("Authorization", authorization)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close() //nolint:errcheck // read only
		if resp.StatusCode != want {
			t.Errorf("%s %s %q: %d, want %d", path, protocol, authorization, resp.StatusCode, want)
		}
	}
	const path, signed = "/service/GraniteServiceVersion20100801/operation/DescribeAlarms", "AWS4-HMAC-SHA256 Credential=x/20261121/eu-central-1/monitoring/aws4_request"
	empty := cbor.Encode(cbor.Map{})
	f(path, "rpc-v2-cbor", signed, empty, 200)
	f(path, "rpc-v2-cbor", "", empty, 403)
	f(path, "awsQuery", signed, empty, 400)
	f("/", "rpc-v2-cbor", signed, empty, 400)
	f(path, "rpc-v2-cbor", signed, []byte("{}"), 400)
}
