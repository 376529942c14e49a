package evaluate_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fettleops/fettle/detect/evaluate"
	"github.com/fettleops/fettle/detect/kernel/detector"
)

func whole(t *testing.T) (nab, points *evaluate.Set) {
	t.Helper()
	dir := sets(t)
	nab, err := evaluate.ReadNAB(os.DirFS(filepath.Join(dir, "nab")))
	if err != nil {
		t.Fatal(err)
	}
	points, err = evaluate.ReadPoints(os.DirFS(filepath.Join(dir, "cloud-monitoring")))
	if err != nil {
		t.Fatal(err)
	}
	return nab, points
}

// drift is a small real detector: how far a value is from a running mean, in
// running mean deviations, with a little of the seed in it.
type drift struct {
	settings  detector.Settings
	n         float64
	mean, dev float64
	last      int64
	seen      *[]detector.Point
}

func (d *drift) Process(p detector.Point, r *detector.Reading) error {
	if len(p.Values) != 1 || (d.n > 0 && p.At <= d.last) {
		return errors.New("the time does not increase")
	}
	if d.seen != nil {
		*d.seen = append(*d.seen, detector.Point{At: p.At, Values: slices.Clone(p.Values)})
	}
	r.Reset(1)
	v := p.Values[0]
	d.last = p.At
	if math.IsNaN(v) {
		return nil
	}
	off := math.Abs(v - d.mean)
	if d.n > 0 {
		z := off / (d.dev + 1e-9*(1+math.Abs(d.mean)))
		r.Score = z / (z + 3 + float64(d.settings.Seed))
	}
	d.n = min(d.n+1, 100)
	d.mean += (v - d.mean) / d.n
	d.dev += (off - d.dev) / d.n
	return nil
}

func (d *drift) AppendState(dst []byte) ([]byte, error) { return dst, nil }

func encode(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func newDrift(s detector.Settings) (detector.Detector, error) { return &drift{settings: s}, nil }

// wave is a set of two categories with a burst in each series.
func wave() *evaluate.Set {
	set := &evaluate.Set{Profiles: []evaluate.Profile{{Name: "standard", TP: 1, FN: 1, FP: 0.11}, {Name: "reward_low_FP_rate", TP: 1, FN: 1, FP: 0.22}}}
	for k, name := range []string{"a/one.csv", "a/two.csv", "b/three.csv"} {
		s := evaluate.Series{Name: name, Category: name[:1]}
		for i := range 400 {
			s.At = append(s.At, int64(i)*300_000)
			s.Values = append(s.Values, math.Sin(float64(i)/9)+float64(i%7)/10)
			s.Labels = append(s.Labels, i >= 250+20*k && i < 270+20*k)
			if s.Labels[i] {
				s.Values[i] += float64(2 + k)
			}
		}
		s.Windows = []evaluate.Window{{First: 250 + 20*k, Last: 269 + 20*k}}
		set.Series = append(set.Series, s)
	}
	return set
}

func TestDetectorsSeeOnePointAfterTheOther(t *testing.T) {
	set := wave()
	s := set.Series[0]
	s.At[9] = s.At[8]          // told twice
	s.At[20] = s.At[19] - 1000 // a clock set back
	var seen []detector.Point
	var made []detector.Settings
	c := evaluate.Alone("drift", func(s detector.Settings) (detector.Detector, error) {
		made = append(made, s)
		return &drift{settings: s, seen: &seen}, nil
	})
	if _, err := evaluate.Scores(t.Context(), &s, c, detector.Settings{Seed: 3}); err != nil {
		t.Fatal(err)
	}
	if len(made) != 1 || made[0] != (detector.Settings{Features: 1, Step: 5 * time.Minute, Seed: 3}) {
		t.Errorf("made %+v, want one with the measured step", made)
	}
	if len(seen) != len(s.Values) {
		t.Fatalf("saw %d points of %d", len(seen), len(s.Values))
	}
	for i, p := range seen {
		if p.Values[0] != s.Values[i] || (i > 0 && p.At <= seen[i-1].At) {
			t.Fatalf("point %d is %+v, the row has %v", i, p, s.Values[i])
		}
	}
}

// TestScoresOfAPrefixStandAlone: what follows a row has no part in its score.
func TestScoresOfAPrefixStandAlone(t *testing.T) {
	c := evaluate.Alone("drift", newDrift)
	for _, s := range wave().Series {
		all, err := evaluate.Scores(t.Context(), &s, c, detector.Settings{})
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{evaluate.StepRows, 100, 399} {
			part := evaluate.Series{Name: s.Name, At: s.At[:n], Values: s.Values[:n], Labels: s.Labels[:n]}
			got, err := evaluate.Scores(t.Context(), &part, c, detector.Settings{})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got[0], all[0][:n]) {
				t.Errorf("%s: the first %d scores depend on later rows", s.Name, n)
			}
		}
	}
}

func TestRunReportsMeansAndSpreadOverSeeds(t *testing.T) {
	set := wave()
	var mu sync.Mutex
	settings := map[detector.Settings]int{}
	told := 0
	run := func(workers int) []evaluate.Result {
		out, err := evaluate.Run(t.Context(), set, []evaluate.Team{
			evaluate.Alone("drift", func(s detector.Settings) (detector.Detector, error) {
				mu.Lock()
				settings[s]++
				mu.Unlock()
				return newDrift(s)
			}),
			evaluate.Alone("flat", func(detector.Settings) (detector.Detector, error) { return flat{}, nil }),
		}, evaluate.Options{Seeds: 3, VUS: true, Workers: workers, Progress: func(string, int, int, int) { told++ }})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	got := run(1)
	if alone, beside := encode(t, got), encode(t, run(4)); alone != beside {
		t.Error("the result depends on how many workers there are")
	}
	for s, n := range settings {
		if n != 2*len(set.Series) {
			t.Errorf("settings %+v were used %d times, want equal ones for every series and three seeds", s, n)
		}
	}
	if len(settings) != 3 || told != 2*2*3 {
		t.Errorf("%d settings, %d reports of progress", len(settings), told)
	}
	d, f := got[0], got[1]
	if d.Name != "drift" || d.Seeds != 3 || len(d.NAB) != 3 {
		t.Fatalf("result %+v", d)
	}
	for what, n := range map[string]evaluate.Number{"standard": d.NAB["standard"], "AP": d.AveragePrecision, "ROC": d.ROCAUC, "VUS": d.VUSPR} {
		if !(n > 0) {
			t.Errorf("drift has %s = %v", what, n)
		}
	}
	if f.NAB["standard_leave_one_category_out"] > f.NAB["standard"] || f.ROCAUC != 0.5 || f.Spread.ROCAUC.SD != 0 {
		t.Errorf("flat has %+v", f)
	}
	s := d.Spread.NAB["standard"]
	if s.Min > d.NAB["standard"] || s.Max < d.NAB["standard"] || s.SD < 0 {
		t.Errorf("spread %+v around %v", s, d.NAB["standard"])
	}
	b := encode(t, d)
	for _, want := range []string{`{"name":"drift","nab":{"`, `"average_precision":`, `"roc_auc":`, `"vus_pr":`, `"seeds":3`, `"spread":{"nab":{`, `"sd":`} {
		if !strings.Contains(b, want) {
			t.Errorf("%s lacks %s", b, want)
		}
	}
}

// flat finds nothing strange.
type flat struct{}

func (flat) Process(_ detector.Point, r *detector.Reading) error { r.Reset(1); return nil }
func (flat) AppendState(dst []byte) ([]byte, error)              { return dst, nil }

// broken fails at its tenth point.
type broken struct {
	n   int
	err error
}

func (b *broken) Process(_ detector.Point, r *detector.Reading) error {
	r.Reset(1)
	if b.n++; b.n == 10 {
		if b.err == nil {
			r.Score = math.NaN()
		}
		return b.err
	}
	return nil
}
func (b *broken) AppendState(dst []byte) ([]byte, error) { return dst, nil }

func TestRunEndsAtTheFirstError(t *testing.T) {
	f := func(want string, made func(detector.Settings) (detector.Detector, error)) {
		t.Helper()
		_, err := evaluate.Run(t.Context(), wave(), []evaluate.Team{evaluate.Alone("odd", made)}, evaluate.Options{Seeds: 2})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
	f("row 10: worn out", func(detector.Settings) (detector.Detector, error) { return &broken{err: errors.New("worn out")}, nil })
	f("row 10 scores NaN", func(detector.Settings) (detector.Detector, error) { return &broken{}, nil })
	f("detector odd: no such thing", func(detector.Settings) (detector.Detector, error) { return nil, errors.New("no such thing") })

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := evaluate.Run(ctx, wave(), []evaluate.Team{evaluate.Alone("drift", newDrift)}, evaluate.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a run that was cancelled ends with %v", err)
	}
}

func TestRunOnTheDataSets(t *testing.T) {
	nab, points := whole(t)
	for _, set := range []*evaluate.Set{nab, points} {
		got, err := evaluate.Run(t.Context(), set, []evaluate.Team{evaluate.Alone("drift", newDrift)}, evaluate.Options{Seeds: 1, VUS: set == points})
		if err != nil {
			t.Fatal(err)
		}
		t.Log(encode(t, got))
		if (got[0].NAB == nil) != (set.Profiles == nil) {
			t.Errorf("NAB scores %v with %d profiles", got[0].NAB, len(set.Profiles))
		}
	}
}
