package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/fettleops/fettle/internal/redact"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/series"
)

var begin = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func collect(t *testing.T, s Source, from time.Time) []Part {
	t.Helper()
	var out []Part
	if err := s.Parts(t.Context(), from, func(p Part) error { out = append(out, p); return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

// flat is every sample of parts, after checking that they follow each other.
func flat(t *testing.T, parts []Part) []string {
	t.Helper()
	var out []string
	for i, p := range parts {
		if !p.From.Before(p.To) || i > 0 && p.From.Before(parts[i-1].To) {
			t.Errorf("part %d is from %s to %s", i, p.From, p.To)
		}
		for _, s := range p.Series {
			for _, x := range s.Points {
				if x.At < p.From.UnixMilli() || x.At >= p.To.UnixMilli() {
					t.Errorf("part %d from %s to %s holds a sample of %d", i, p.From, p.To, x.At)
				}
				out = append(out, fmt.Sprintf("%s%v%d %v", s.Metric, s.Labels, x.At, x.Value))
			}
		}
	}
	slices.Sort(out)
	return out
}

// TestSpansFollowTheAmount asks a past of growing density.
func TestSpansFollowTheAmount(t *testing.T) {
	f := func(perSecond func(at time.Time) float64, days, atLeast, atMost int) {
		t.Helper()
		end := begin.AddDate(0, 0, days)
		covered, asked, parts := begin, 0, 0
		err := windows(t.Context(), begin, func() time.Time { return end }, func(p Part) error {
			if !p.From.Equal(covered) || p.Samples() > most {
				t.Fatalf("part from %s with %d samples, want it from %s", p.From, p.Samples(), covered)
			}
			covered = p.To
			parts++
			return nil
		}, func(_ context.Context, from, to time.Time) ([]Series, error) {
			asked++
			n := int(perSecond(from) * to.Sub(from).Seconds())
			if n > 3*most {
				return nil, errTooMuch
			}
			return []Series{{Points: make([]series.RawPoint, n)}}, nil
		})
		if err != nil || !covered.Equal(end) || parts < atLeast || parts > atMost {
			t.Errorf("%d parts (want %d to %d) in %d questions up to %s: %v", parts, atLeast, atMost, asked, covered, err)
		}
	}
	f(func(time.Time) float64 { return 0 }, 30, 30, 34)
	f(func(time.Time) float64 { return 2 }, 30, 26, 40)
	f(func(at time.Time) float64 { // from one moment on, a hundred times as much
		if at.After(begin.Add(20 * time.Hour)) {
			return 100
		}
		return 1
	}, 3, 70, 120)

	err := windows(t.Context(), begin, func() time.Time { return begin.Add(time.Hour) }, nil, func(context.Context, time.Time, time.Time) ([]Series, error) {
		return nil, errTooMuch
	})
	if !errors.Is(err, errTooMuch) {
		t.Errorf("what can never be asked: %v", err)
	}
}

// TestTheEndMoves catches up with what goes on meanwhile.
func TestTheEndMoves(t *testing.T) {
	end := begin.Add(time.Hour)
	var last time.Time
	err := windows(t.Context(), begin, func() time.Time { return end }, func(p Part) error {
		if last = p.To; end.Before(begin.Add(2 * time.Hour)) {
			end = end.Add(20 * time.Minute)
		}
		return nil
	}, func(context.Context, time.Time, time.Time) ([]Series, error) { return nil, nil })
	if err != nil || !last.Equal(begin.Add(2*time.Hour)) {
		t.Errorf("it ended at %s: %v", last, err)
	}
}

// scrape is a small Prometheus: a sample every 15 s of one series.
func scrape(t *testing.T, answer func(w http.ResponseWriter, q url.Values) bool) string {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		if answer(w, r.Form) {
			return
		}
		at, err := strconv.ParseFloat(r.Form.Get("time"), 64)
		if err != nil {
			t.Errorf("time %q", r.Form.Get("time"))
		}
		_, span, _ := strings.Cut(r.Form.Get("query"), "[")
		ms, err := strconv.Atoi(strings.TrimSuffix(span, "ms]"))
		if err != nil {
			t.Errorf("query %q", r.Form.Get("query"))
		}
		var values []string
		end := int64(at * 1000)
		for x := (end - int64(ms) + 14_999) / 15_000 * 15_000; x <= end; x += 15_000 { // with both ends, as before version 3
			values = append(values, fmt.Sprintf(`[%d.%03d, "%d"]`, x/1000, x%1000, x))
		}
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"up","instance":"a","empty":""},"values":[%s]}]}}`, strings.Join(values, ","))
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestEverySampleOnce(t *testing.T) {
	limited := 0
	base := scrape(t, func(w http.ResponseWriter, q url.Values) bool {
		if _, span, _ := strings.Cut(q.Get("query"), "["); len(span) > len("9999999ms]") { // more than 10,000 s
			limited++
			w.WriteHeader(http.StatusUnprocessableEntity)
			fmt.Fprint(w, `{"status":"error","errorType":"execution","error":"query processing would load too many samples into memory in query execution"}`)
			return true
		}
		return false
	})
	s, err := Prometheus(Options{URL: base + "/", Match: []string{Selector("up")}, Labels: map[string]string{"cluster": "eu", "instance": "z"}, Until: func() time.Time { return begin.Add(24 * time.Hour) }})
	if err != nil {
		t.Fatal(err)
	}
	got := flat(t, collect(t, s, begin.Add(time.Second)))
	if len(got) != 24*240-1 || limited == 0 {
		t.Errorf("%d samples, %d questions were too large", len(got), limited)
	}
	if want := fmt.Sprintf("up[{cluster eu} {instance a}]%d %d", begin.UnixMilli()+15_000, begin.UnixMilli()+15_000); len(got) == 0 || !strings.HasPrefix(got[0], want[:20]) || slices.Compact(got)[0] != got[0] {
		t.Errorf("the first is %q, want %q", got[0], want)
	}
}

func TestPrometheusRefusals(t *testing.T) {
	f := func(status int, body, want string) {
		t.Helper()
		base := scrape(t, func(w http.ResponseWriter, _ url.Values) bool {
			w.WriteHeader(status)
			fmt.Fprint(w, body)
			return true
		})
		s, err := Prometheus(Options{URL: base, Match: []string{"up"}, Token: redact.New("very-secret"), Until: func() time.Time { return begin.Add(time.Hour) }})
		if err != nil {
			t.Fatal(err)
		}
		err = s.Parts(t.Context(), begin, func(Part) error { return nil })
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "very-secret") {
			t.Errorf("%v, want %q", err, want)
		}
	}
	f(400, `{"status":"error","errorType":"bad_data","error":"parse error"}`, "parse error")
	f(401, `go away, very-secret`, "401")
	f(302, ``, "302")
	f(200, `<html>`, "something that Prometheus does not")
	f(200, `{"status":"success","data":{"resultType":"vector","result":[]}}`, `result "vector"`)
	f(200, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"up"},"values":[[1,2]]}]}}`, "pairs of a time and a text")

	g := func(o Options, want string) {
		t.Helper()
		_, err := Prometheus(o)
		if err == nil || !errors.Is(err, ops.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	g(Options{URL: "prom:9090"}, "write it like")
	g(Options{URL: "http://u:p4ss@prom"}, "by reference")
	g(Options{URL: "http://prom", Step: time.Millisecond}, "at least a second")
}

func TestRemoteReadAsksAndReads(t *testing.T) {
	var asked []byte
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := make([]byte, r.ContentLength)
		if _, err := r.Body.Read(body); err != nil && r.Header.Get("Content-Encoding") != "snappy" {
			t.Error(err)
		}
		var err error
		if asked, err = s2.Decode(nil, body); err != nil {
			t.Error(err)
		}
		user, password, _ := r.BasicAuth()
		if user != "u" || password != "p" || r.Header.Get("X-Prometheus-Remote-Read-Version") != "0.1.0" {
			t.Errorf("header %v", r.Header)
		}
		label := appendText(appendText(nil, 1, "__name__"), 2, "up")
		var sample []byte
		sample = protowire.AppendFixed64(protowire.AppendTag(sample, 1, protowire.Fixed64Type), 0x3ff0000000000000)
		sample = appendNumber(sample, 2, uint64(begin.UnixMilli()))
		one := appendText(appendText(nil, 1, string(label)), 2, string(sample))
		_, _ = w.Write(s2.EncodeSnappy(nil, appendText(nil, 1, string(appendText(nil, 1, string(one))))))
	}))
	defer srv.Close()
	s, err := RemoteRead(Options{
		URL: srv.URL + "/api/v1/read", Match: []string{`up{job=~"a|b",zone!="x"}`}, User: "u", Password: redact.New("p"),
		Until: func() time.Time { return begin.Add(time.Hour) },
	})
	if err != nil {
		t.Fatal(err)
	}
	got := flat(t, collect(t, s, begin))
	if want := fmt.Sprintf("up[]%d 1", begin.UnixMilli()); len(got) != 1 || got[0] != want {
		t.Errorf("%q, want %q", got, want)
	}
	var said []string
	err = fields(asked, func(_ protowire.Number, _ protowire.Type, query []byte, _ uint64) error {
		return fields(query, func(num protowire.Number, typ protowire.Type, v []byte, n uint64) error {
			if typ != protowire.BytesType {
				said = append(said, fmt.Sprint(num, "=", n))
				return nil
			}
			return fields(v, func(num protowire.Number, _ protowire.Type, v []byte, n uint64) error {
				said = append(said, fmt.Sprint(num, ":", n, string(v)))
				return nil
			})
		})
	})
	want := fmt.Sprintf("[1=%d 2=%d 1:0 2:0__name__ 3:0up 1:2 2:0job 3:0a|b 1:1 2:0zone 3:0x]", begin.UnixMilli(), begin.Add(time.Hour).UnixMilli()-1)
	if err != nil || fmt.Sprint(said) != want {
		t.Errorf("asked %v, %v, want %s", said, err, want)
	}
	if _, err := RemoteRead(Options{URL: srv.URL, Step: time.Minute}); !errors.Is(err, ops.ErrInvalid) {
		t.Errorf("a step: %v", err)
	}
	if _, err := RemoteRead(Options{URL: srv.URL, Match: []string{"rate(up[5m])"}}); !errors.Is(err, ops.ErrInvalid) {
		t.Errorf("an expression: %v", err)
	}
}

func TestSelectors(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		got, err := parseSelector(in)
		text := fmt.Sprint(got)
		if err != nil {
			text = "error"
		}
		if text != want {
			t.Errorf("%s: %s (%v), want %s", in, text, err, want)
		}
	}
	f(`up`, "[{__name__ = up}]")
	f(`{__name__="amazonaws.com/AWS/EC2/CPUUtilization"}`, "[{__name__ = amazonaws.com/AWS/EC2/CPUUtilization}]")
	f(`a:b{x='it\'s "q"', y!~"\\d+" ,}`, `[{__name__ = a:b} {x = it's "q"} {y !~ \d+}]`)
	f("up{a=`}`}", "[{__name__ = up} {a = }}]")
	f(`up{"host.name"="a"}`, "[{__name__ = up} {host.name = a}]")
	for _, wrong := range []string{"", "{}", "up{", "up}", `up{a}`, `up{a="b" c="d"}`, `up[5m]`, `up{a="b"} 1`, "sum(up)"} {
		f(wrong, "error")
	}
}

func table1(t *testing.T, text string, labels map[string]string) (Source, error) {
	t.Helper()
	return CSV(Table{In: strings.NewReader(text), Labels: labels})
}

func TestTables(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		s, err := table1(t, text, map[string]string{"job": "node"})
		var parts []Part
		if err == nil {
			err = s.Parts(t.Context(), time.Time{}, func(p Part) error { parts = append(parts, p); return nil })
		}
		got := strings.Join(flat(t, parts), "; ")
		if err != nil {
			got = err.Error()
		}
		if got != want && (err == nil || !strings.Contains(got, want) || want == "") {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	f("Time,metric,value,instance\n2026-11-01 00:00:00,up,1,a\n2026-11-01 00:00:15,up,0.5,a\n", "up[{instance a} {job node}]1793491200000 1; up[{instance a} {job node}]1793491215000 0.5")
	f("metric,time,value,job\nup,1793491215,2,\nup,1793491200,1,x\n", "up[{job node}]1793491215000 2; up[{job x}]1793491200000 1")
	f("ts,up,\"load{instance=\"\"a\"\"}\"\n1793491200,1,\n1793491201,,3\n", "load[{instance a} {job node}]1793491201000 3; up[{job node}]1793491200000 1")
	f("time,metric,value\n", "")
	f("time,metric,value\n1793491200,up,many\n", `line 2: column value: "many" is no number`)
	f("time,metric,value\n1793491200,,1\n", "line 2: column metric is empty")
	f("time,metric,value\nyesterday,up,1\n", `line 2: time "yesterday"`)
	f("time,metric\n", "needs both metric and value")
	f("a,b\n1,2\n", "no column time among a, b")
	f("time\n1\n", "no column beside the time")
	f("time,\n1,1\n", "column 2 has no name")
	f("time,\"up{a!=\"\"b\"\"}\"\n", "use = alone")
	f("time,up\n1,2,3\n", "wrong number of fields")
	f("", "heading")
}

// TestLongTables cuts a table that does not fit into a part.
func TestLongTables(t *testing.T) {
	const rows = 11 * wanted / 5
	count := func(parts []Part) (n int) {
		for i := range parts {
			if n += parts[i].Samples(); i > 0 && parts[i].From.Before(parts[i-1].To) {
				t.Errorf("part %d begins before the end of the one before it", i)
			}
		}
		return n
	}
	var b strings.Builder
	b.WriteString("time,metric,value,i\n")
	at := func(i int) int64 { return begin.Unix() + int64(i)*10 - int64(i%7)*3 } // not quite in order
	for i := range rows {
		fmt.Fprintf(&b, "%d,m,%d,%d\n", at(i), i, i%10)
	}
	// A row of long ago ends it, after everything that was in order.
	s, err := table1(t, b.String()+fmt.Sprintf("%d,m,1,1\n", begin.Unix()), nil)
	if err != nil {
		t.Fatal(err)
	}
	var parts []Part
	err = s.Parts(t.Context(), time.Time{}, func(p Part) error { parts = append(parts, p); return nil })
	if err == nil || !strings.Contains(err.Error(), "sort the file by time") {
		t.Errorf("a row of long ago: %v", err)
	}
	if n := count(parts); n < wanted/2 || n >= rows || len(parts) == 0 || len(parts) > 3 {
		t.Errorf("%d of %d samples in %d parts", n, rows, len(parts))
	}
	for i, p := range parts {
		if p.Samples() > most {
			t.Errorf("part %d has %d samples", i, p.Samples())
		}
	}
	// Interrupted after the first part, it goes on behind it.
	again, err := table1(t, b.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	rest := collect(t, again, parts[0].To)
	if n := count(append(slices.Clone(parts[:1]), rest...)); n != rows {
		t.Errorf("%d of %d samples after an interruption", n, rows)
	}
}

func FuzzPoints(f *testing.F) {
	for _, s := range []string{`[[1435781430.781,"1"],[1,"NaN"]]`, `[]`, `[[1,"+Inf"]]`, `[[`, `[[1]]`, `[[1,"]"]]`, `null`} {
		f.Add(s)
	}
	f.Fuzz(func(_ *testing.T, s string) {
		var p points
		_ = p.UnmarshalJSON([]byte(s)) // must not panic
	})
}

func FuzzRemoteReadAnswer(f *testing.F) {
	f.Add(appendText(nil, 1, string(appendText(nil, 1, "\x0a\x02\x0a\x00"))))
	f.Add([]byte{0xa, 0xff})
	f.Fuzz(func(_ *testing.T, b []byte) {
		r := &remoteRead{}
		_, _ = r.parse(b, begin, begin.Add(time.Hour)) // must not panic
	})
}
