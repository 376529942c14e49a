package evaluate_test

import (
	"compress/gzip"
	"encoding/csv"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/fettleops/fettle/detect/evaluate"
)

// sets is the folder of whole data sets: FETTLE_DATA, or shared/data beside
// the project.
func sets(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("FETTLE_DATA")
	if dir == "" {
		dir = "../../../shared/data"
	}
	if _, err := os.Stat(filepath.Join(dir, "nab")); err != nil {
		t.Skip("no data sets: set FETTLE_DATA to a folder with nab/ and cloud-monitoring/")
	}
	return dir
}

// published is what NAB's result files say of one series.
type published struct {
	name      string
	timestamp []string
	scores    []float64
	byRow     map[string][]float64 // profile -> S(t)
}

func readPublished(t *testing.T, name string, r io.Reader) published {
	t.Helper()
	rows, err := csv.NewReader(r).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	p := published{name: name, byRow: map[string][]float64{}}
	for _, row := range rows[1:] {
		p.timestamp = append(p.timestamp, row[0])
		for i, head := range rows[0] {
			profile, isRow := strings.CutPrefix(head, "S(t)_")
			if !isRow && head != "anomaly_score" {
				continue
			}
			v, err := strconv.ParseFloat(row[i], 64)
			if err != nil {
				t.Fatal(err)
			}
			if isRow {
				p.byRow[profile] = append(p.byRow[profile], v)
			} else {
				p.scores = append(p.scores, v)
			}
		}
	}
	return p
}

// verdict is a row of NAB's <profile>_scores.csv.
type verdict struct {
	threshold, score float64
	tp, fp           int
}

func readVerdicts(t *testing.T, name string) map[string]verdict {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	number := func(s string) float64 {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	out := map[string]verdict{}
	for _, r := range rows[1:] {
		out[r[2]] = verdict{number(r[3]), number(r[4]), int(number(r[5])), int(number(r[7]))}
	}
	return out
}

// agrees holds our scorer against what NAB published: with its thresholds,
// the part every row has in the score, the score of every series, and the
// numbers of alarms in and outside windows.
func agrees(t *testing.T, set *evaluate.Set, of []published, verdicts func(profile string) map[string]verdict) {
	t.Helper()
	scores := make([][]float64, len(set.Series))
	for i, s := range set.Series {
		at := slices.IndexFunc(of, func(p published) bool { return p.name == s.Name })
		scores[i] = of[at].scores
	}
	n, ranking := evaluate.NewNAB(set), evaluate.Rank(set, scores)
	for _, p := range set.Profiles {
		want := verdicts(p.Name)
		sum := 0.0
		threshold := want[set.Series[0].Name].threshold
		rows, totals := n.ByRow(ranking, p, threshold), n.BySeries(ranking, p, threshold)
		for i, s := range set.Series {
			v := want[s.Name]
			if math.Abs(totals[i]-v.score) > 1e-9 {
				t.Errorf("%s %s scores %.11f, published %.11f", p.Name, s.Name, totals[i], v.score)
			}
			at := slices.IndexFunc(of, func(p published) bool { return p.name == s.Name })
			tp, fp := 0, 0
			for row, got := range rows[i] {
				if w := of[at].byRow[p.Name][row]; math.Abs(got-w) > 1e-11 {
					t.Fatalf("%s %s row %d counts %.12f, published %.12f", p.Name, s.Name, row, got, w)
				}
				if row >= evaluate.Probation(len(s.Values)) && scores[i][row] >= threshold {
					if s.Labels[row] {
						tp++
					} else {
						fp++
					}
				}
			}
			if tp != v.tp || fp != v.fp {
				t.Errorf("%s %s: %d alarms in windows and %d outside, published %d and %d", p.Name, s.Name, tp, fp, v.tp, v.fp)
			}
			sum += v.score
		}
		windows := 0
		for _, s := range set.Series {
			windows += len(s.Windows)
		}
		silence := -p.FN * float64(windows)
		want100 := 100 * (sum - silence) / (float64(windows)*p.TP - silence)
		if got := n.At(ranking, p, threshold); math.Abs(got.Score-want100) > 1e-8 {
			t.Errorf("%s: the part normalises to %f, the published parts to %f", p.Name, got.Score, want100)
		}
		if best := n.Best(ranking, p); best.Score < want100-1e-9 {
			t.Errorf("%s: the best threshold scores %f, less than the published threshold's %f", p.Name, best.Score, want100)
		} else if again := n.At(ranking, p, best.Threshold); math.Abs(again.Score-best.Score) > 1e-9 {
			t.Errorf("%s: the sweep says %f for %v, which scores %f", p.Name, best.Score, best.Threshold, again.Score)
		}
	}
}

// TestAgreesWithPublishedRows uses three published result files, kept in
// testdata: a window that begins in a quiet series, many false alarms, and a
// short series with two missed windows.
func TestAgreesWithPublishedRows(t *testing.T) {
	root := fstest.MapFS{}
	var all []published
	for _, file := range []string{"labels/combined_windows.json", "profiles.json"} {
		b, err := os.ReadFile("testdata/nab/" + file)
		if err != nil {
			t.Fatal(err)
		}
		root[file] = &fstest.MapFile{Data: b}
	}
	for _, file := range []string{"ec2_cpu_utilization_24ae8d", "grok_asg_anomaly", "iio_us-east-1_i-a2eb1cd9_NetworkIn"} {
		f, err := os.Open("testdata/nab/results/" + file + ".csv.gz")
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		name := "realAWSCloudwatch/" + file + ".csv"
		p := readPublished(t, name, z)
		f.Close()
		all = append(all, p)
		root["data/"+name] = &fstest.MapFile{Data: []byte("timestamp,value\n" + strings.Join(p.timestamp, ",1\n") + ",1\n")}
	}
	set, err := evaluate.ReadNAB(root)
	if err != nil {
		t.Fatal(err)
	}
	agrees(t, set, all, func(profile string) map[string]verdict {
		return readVerdicts(t, "testdata/nab/results/"+profile+".csv")
	})
}

// TestAgreesWithAllPublishedFiles does the same for all 17 files of
// realAWSCloudwatch, the only category whose results are at hand: 51 scores.
func TestAgreesWithAllPublishedFiles(t *testing.T) {
	dir := filepath.Join(sets(t), "nab")
	set, err := evaluate.ReadNAB(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	set.Series = slices.DeleteFunc(set.Series, func(s evaluate.Series) bool { return s.Category != "realAWSCloudwatch" })
	results := os.DirFS(filepath.Join(dir, "results/randomCutForest/realAWSCloudwatch"))
	names, err := fs.Glob(results, "*.csv")
	if err != nil || len(names) != len(set.Series) {
		t.Fatalf("%d result files for %d series (%v)", len(names), len(set.Series), err)
	}
	var all []published
	for _, n := range names {
		f, err := results.Open(n)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, readPublished(t, "realAWSCloudwatch/"+strings.TrimPrefix(n, "randomCutForest_"), f))
		f.Close()
	}
	agrees(t, set, all, func(profile string) map[string]verdict {
		return readVerdicts(t, filepath.Join(dir, "results/randomCutForest/randomCutForest_"+profile+"_scores.csv"))
	})
}

var standard = evaluate.Profile{Name: "standard", TP: 1, FN: 1, FP: 0.11}

// row20 is a series of 20 rows (3 of probation) with the given windows.
func row20(name string, windows ...evaluate.Window) evaluate.Series {
	s := evaluate.Series{Name: name + "/a.csv", Category: name, At: make([]int64, 20), Values: make([]float64, 20), Labels: make([]bool, 20), Windows: windows}
	for i := range s.At {
		s.At[i] = int64(i) * 60_000
	}
	for _, w := range windows {
		for i := w.First; i <= w.Last; i++ {
			s.Labels[i] = true
		}
	}
	return s
}

// alarms are scores of 1 at the rows and 0 elsewhere.
func alarms(rows ...int) []float64 {
	s := make([]float64, 20)
	for _, r := range rows {
		s[r] = 1
	}
	return s
}

// TestNABByHand works the rules out on one series of 20 rows with a window
// of rows 8 to 11.
func TestNABByHand(t *testing.T) {
	sigma := func(x float64) float64 { return 2/(1+math.Exp(5*x)) - 1 }
	set := &evaluate.Set{Series: []evaluate.Series{row20("x", evaluate.Window{First: 8, Last: 11})}}
	n := evaluate.NewNAB(set)
	f := func(why string, want float64, rows ...int) {
		t.Helper()
		got := n.BySeries(evaluate.Rank(set, [][]float64{alarms(rows...)}), standard, 0.5)[0]
		if math.Abs(got-want) > 1e-12 {
			t.Errorf("%s: alarms at %v score %v, want %v", why, rows, got, want)
		}
	}
	f("silence misses the window", -1)
	f("the first row of the window earns all", 1, 8)
	f("later earns less", sigma(-0.25)/sigma(-1), 11)
	f("only the first alarm of a window earns", sigma(-0.75)/sigma(-1), 9, 10, 11)
	f("before any window a false alarm costs all", 1-0.11, 5, 8)
	f("just behind it costs a part", 1+0.11*sigma(1./3), 8, 12)
	f("three widths behind it costs almost all", 1+0.11*sigma(8./3), 8, 19)
	f("probation does not count", 1, 0, 2, 8)
	f("the row after probation does", 1-0.11, 3, 8)

	got := n.Best(evaluate.Rank(set, [][]float64{alarms(8)}), standard)
	if got.Score != 100 || got.Threshold != 1 {
		t.Errorf("the perfect detector has %+v, want 100 at threshold 1", got)
	}
	if got := n.Best(evaluate.Rank(set, [][]float64{make([]float64, 20)}), standard); got.Score <= 0 {
		t.Errorf("always an alarm scores %v here, want more than silence", got)
	}
	if got := n.Best(evaluate.Rank(set, [][]float64{alarms(4)}), evaluate.Profile{TP: 1, FN: 1, FP: 5}); got.Score != 0 || !math.IsInf(got.Threshold, 1) {
		t.Errorf("where alarms cost more than they earn: %+v, want silence", got)
	}
}

// TestLeaveOneCategoryOut has two categories whose best thresholds differ.
func TestLeaveOneCategoryOut(t *testing.T) {
	w := evaluate.Window{First: 8, Last: 11}
	set := &evaluate.Set{Series: []evaluate.Series{row20("a", w), row20("b", w)}}
	a, b := alarms(8), alarms(8)
	a[8], b[8] = 0.9, 0.5 // found at different thresholds
	a[4], a[5] = 0.6, 0.6 // at b's threshold, a has two false alarms
	n, r := evaluate.NewNAB(set), evaluate.Rank(set, [][]float64{a, b})
	// a at 0.5: 1 - 2*0.11; b at 0.9: -1. Silence is -2, perfect is 2.
	want := 100 * (1 - 0.22 - 1 + 2) / 4
	if got := n.LeaveOneCategoryOut(r, standard); math.Abs(got-want) > 1e-9 {
		t.Errorf("leave one category out scores %v, want %v", got, want)
	}
	if in := n.Best(r, standard).Score; in < want {
		t.Errorf("in-sample %v is below out-of-sample %v", in, want)
	}
	one := &evaluate.Set{Series: []evaluate.Series{row20("a", w)}}
	if got := evaluate.NewNAB(one).LeaveOneCategoryOut(evaluate.Rank(one, [][]float64{a}), standard); got != 0 {
		t.Errorf("a single category has nothing to learn a threshold from, scores %v, want 0", got)
	}
}
