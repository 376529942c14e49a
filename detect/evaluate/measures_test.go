package evaluate_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/fettleops/fettle/detect/evaluate"
)

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-9 && !(math.IsNaN(got) && math.IsNaN(want)) {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// scored has 3 skipped rows and then one row for each score; a capital letter
// in labels marks an anomalous row.
func scored(labels string, scores ...float64) (evaluate.Series, []float64) {
	s := evaluate.Series{Name: "x/a.csv", Category: "x"}
	all := append([]float64{1, 1, 1}, scores...)
	for i := range all {
		s.At, s.Values = append(s.At, int64(i)*3_600_000), append(s.Values, 0)
		s.Labels = append(s.Labels, i >= 3 && labels[i-3] == 'A')
		if s.Labels[i] {
			if n := len(s.Windows); n > 0 && s.Windows[n-1].Last == i-1 {
				s.Windows[n-1].Last = i
			} else {
				s.Windows = append(s.Windows, evaluate.Window{First: i, Last: i})
			}
		}
	}
	return s, all
}

func TestPointwiseMeasures(t *testing.T) {
	f := func(why, labels string, ap, roc float64, scores ...float64) {
		t.Helper()
		s, all := scored(labels, scores...)
		got := evaluate.Points(evaluate.Rank(&evaluate.Set{Series: []evaluate.Series{s}}, [][]float64{all}))
		near(t, why+": average precision", got.AveragePrecision, ap)
		near(t, why+": ROC AUC", got.ROCAUC, roc)
	}
	nan := math.NaN()
	f("perfect", "................AA", 1, 1, 0, .1, .2, .3, .1, .1, .1, .1, .1, .1, .1, .1, .1, .1, .1, .1, .8, .9)
	f("all equal", "....A.....A.........", 0.1, 0.5, make([]float64, 20)...)
	// Ranked: A . A . and 13 more: precision 1 at recall 1/2, 2/3 at recall 1.
	f("one between", "A.A..............", (1+2./3)/2, 1-1./30, .9, .8, .7, .1, .1, .1, .1, .1, .1, .1, .1, .1, .1, .1, .1, .1, .1)
	f("ties count a half", "A................", 0.5, 1-0.5/16, .9, .9, .1, .1, .1, .1, .1, .1, .1, .1, .1, .1, .1, .1, .1, .1, .1)
	f("a score that is not a number ranks last", "A................", 1./17, 0, append([]float64{nan}, []float64{.9, .8, .1, .1, .1, .1, .1, .1, .1, .1, .1, .1, .1, .1, .1, .1}...)...)
	f("nothing labelled, nothing to say", ".................", nan, nan, make([]float64, 17)...)
}

func TestUnlabelledSeriesAreNoPartOfTheMean(t *testing.T) {
	a, sa := scored("A................", append([]float64{1}, make([]float64, 16)...)...)
	b, sb := scored(".................", append([]float64{1}, make([]float64, 16)...)...)
	got := evaluate.Points(evaluate.Rank(&evaluate.Set{Series: []evaluate.Series{a, b}}, [][]float64{sa, sb}))
	if got.Series != 1 || got.AveragePrecision != 1 {
		t.Errorf("got %+v, want the one labelled series with 1", got)
	}
}

func TestAlarmsAtABudget(t *testing.T) {
	// 20 hourly rows, 3 skipped: 16 hours are 16/168 of a week.
	s, scores := scored("....AAAA.........", 0, .5, 0, 0, 0, .9, 0, .9, 0, 0, .6, .6, .6, .6, .6, 0, 0)
	set := &evaluate.Set{Series: []evaluate.Series{s}}
	r := evaluate.Rank(set, [][]float64{scores})
	none := evaluate.AtBudget(r, 0)
	near(t, "threshold without a false alarm", none.Threshold, 0.9)
	near(t, "event recall", none.EventRecall, 1)
	near(t, "range recall", none.RangeRecall, 0.5+0.5*(2./4)/2)
	near(t, "delay in rows", none.DelayRows, 1)
	near(t, "delay in seconds", none.DelaySeconds, 3600)
	// Five hours at 0.6 are told twice.
	near(t, "threshold with one", evaluate.AtBudget(r, 1.01*168/16).Threshold, 0.9)
	near(t, "threshold with two", evaluate.AtBudget(r, 2.01*168/16).Threshold, 0.6)
	three := evaluate.AtBudget(r, 3.01*168/16)
	near(t, "threshold with three", three.Threshold, 0.5)
	near(t, "alarms a week", three.PerWeek, 3*168./16)
}

func TestAConstantDetectorFindsNothingAtABudget(t *testing.T) {
	s, _ := scored("....AAAA.........", make([]float64, 17)...)
	got := evaluate.AtBudget(evaluate.Rank(&evaluate.Set{Series: []evaluate.Series{s}}, [][]float64{make([]float64, 20)}), 1)
	if got.EventRecall != 0 || !math.IsInf(got.Threshold, 1) {
		t.Errorf("got %+v, want nothing found", got)
	}
}

func TestReadPoints(t *testing.T) {
	set, err := evaluate.ReadPoints(fstest.MapFS{
		"a/b/deep.csv": {Data: []byte("\"TimeStamp\",\"Value\",\"Label\"\n\"2018-04-25T00:00:00Z\",\"1.5\",0\n2018-04-25 00:01:00,,1\n1524614520,2,1\n")},
		"top.CSV":      {Data: []byte("Label,TimeStamp,Value\n0,2018-04-25 00:00:00,1\n")},
		"README.md":    {Data: []byte("not a series")},
	})
	if err != nil {
		t.Fatal(err)
	}
	deep := set.Series[0]
	if len(set.Series) != 2 || deep.Name != "a/b/deep.csv" || deep.Category != "a" || set.Series[1].Category != "" {
		t.Fatalf("read %+v", set.Series)
	}
	if deep.At[2]-deep.At[0] != 120_000 || !math.IsNaN(deep.Values[1]) || len(deep.Windows) != 1 || deep.Windows[0] != (evaluate.Window{First: 1, Last: 2}) {
		t.Errorf("read %+v", deep)
	}
	if set.Profiles != nil {
		t.Error("a point-labelled set has no cost profiles")
	}
}

func TestReadersNameTheFault(t *testing.T) {
	f := func(file, data, want string) {
		t.Helper()
		_, err := evaluate.ReadPoints(fstest.MapFS{file: {Data: []byte(data)}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q in it", data, err, want)
		}
	}
	f("a.txt", "", "no CSV file")
	f("a.csv", "TimeStamp,Value\n", `a.csv: the heading "TimeStamp,Value" needs the column label`)
	f("a.csv", "TimeStamp,Value,Label\n", "a.csv: holds no row")
	f("a.csv", "TimeStamp,Value,Label\nnoon,1,0\n", `a.csv: line 2: time "noon"`)
	f("a.csv", "TimeStamp,Value,Label\n1,Inf,0\n", `value "Inf" is not a finite number`)
	f("a.csv", "TimeStamp,Value,Label\n1,2\n", "a.csv: line 2 has 2 columns, 3 are needed")
	f("a.csv", "TimeStamp,Value,Label\n1,2,yes\n", `label "yes" is neither 0 nor 1`)

	g := func(want, windows, profiles string) {
		t.Helper()
		_, err := evaluate.ReadNAB(fstest.MapFS{
			"data/x/a.csv":                 {Data: []byte("timestamp,value\n2018-04-25 00:00:00,1\n2018-04-25 00:05:00,1\n")},
			"labels/combined_windows.json": {Data: []byte(windows)}, "profiles.json": {Data: []byte(profiles)},
		})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s %s: error %v, want %q in it", windows, profiles, err, want)
		}
	}
	const ok = `{"standard":{"CostMatrix":{"tpWeight":1,"fnWeight":1,"fpWeight":0.11}}}`
	g(`no entry for "x/a.csv"`, `{}`, ok)
	g("no row lies in the window", `{"x/a.csv":[["2019-01-01 00:00:00.000000","2019-01-02 00:00:00.000000"]]}`, ok)
	g("CostMatrix needs tpWeight > 0", `{"x/a.csv":[]}`, `{"standard":{}}`)
	g("holds no profile", `{"x/a.csv":[]}`, `{}`)
}

func TestReadTheDataSets(t *testing.T) {
	// What the folders' descriptions say they hold.
	nab, points := whole(t)
	if len(nab.Series) != 34 || len(nab.Profiles) != 3 || nab.Profiles[0].Name != "standard" {
		t.Errorf("NAB: %d series, profiles %v", len(nab.Series), nab.Profiles)
	}
	if len(points.Series) != 20 {
		t.Errorf("cloud monitoring: %d series, want 20", len(points.Series))
	}
}

func TestParseTime(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		got, err := evaluate.ParseTime(in)
		if err != nil || got.Format("2006-01-02T15:04:05.999Z07:00") != want {
			t.Errorf("ParseTime(%q) = %v, %v, want %s", in, got, err, want)
		}
	}
	const noon = "2026-11-21T12:00:00Z"
	f("2026-11-21 12:00:00", noon)
	f("2026-11-21 12:00:00.000000", noon)
	f("2026-11-21T12:00:00", noon)
	f("2026-11-21T13:00:00+01:00", noon)
	f("2026-11-21 13:00:00+01:00", noon)
	f("2026-11-21 12:00", noon)
	f("2026/11/21 12:00:00", noon)
	f("11/21/2026 12:00", noon)
	f("2026-11-21", "2026-11-21T00:00:00Z")
	f("1795262400", noon)
	f("1795262400.25", "2026-11-21T12:00:00.25Z")
	f("1795262400000", noon)
	f("1795262400000000", noon)
	f("1795262400000000000", noon)
	for _, bad := range []string{"", "noon", "-5", "NaN", "1e30"} {
		if got, err := evaluate.ParseTime(bad); err == nil {
			t.Errorf("ParseTime(%q) = %v, want an error", bad, got)
		}
	}
}

func TestNumbersThatAreNotKnownAreNull(t *testing.T) {
	b, err := json.Marshal([]evaluate.Number{0.5, evaluate.Number(math.NaN()), evaluate.Number(math.Inf(1))})
	if err != nil || string(b) != "[0.5,null,null]" {
		t.Errorf("marshalled %s (%v)", b, err)
	}
	var back []evaluate.Number
	if err := json.Unmarshal([]byte("[0.5,null]"), &back); err != nil || back[0] != 0.5 || !math.IsNaN(float64(back[1])) {
		t.Errorf("unmarshalled %v (%v)", back, err)
	}
}

func TestAffiliationAtABudget(t *testing.T) {
	// Rows 7 and 8 of rows 3 to 19 are the window; there are 17 rows.
	f := func(why string, want float64, alarms ...int) {
		t.Helper()
		s, scores := scored("....AA...........", make([]float64, 17)...)
		for _, row := range alarms {
			scores[row] = 0.9
		}
		for i := range 3 {
			scores[i] = 0
		}
		got := evaluate.AtBudget(evaluate.Rank(&evaluate.Set{Series: []evaluate.Series{s}}, [][]float64{scores}), 1.5*168/16)
		near(t, why, got.AffiliationF1, want)
	}
	f1 := func(p, r float64) float64 { return 2 * p * r / (p + r) }
	f("the window itself", 1, 7, 8)
	f("no alarm", 0)
	// From row 8, the rows 3 to 7 and 9 to 19 are 1 or more away.
	f("one row of two", f1(1, (1+16./17)/2), 7)
	// One row behind: 4+11 rows are as far from the window. The rows of the
	// window see 3+11 and 5+11 rows as far as the alarm.
	f("just beside", f1(15./17, (14./17+16./17)/2), 9)
	f("at the far end", f1(1./17, (1./17+1./17)/2), 19)
}
