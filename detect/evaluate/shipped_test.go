package evaluate_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fettleops/fettle/detect/evaluate"
	"github.com/fettleops/fettle/detect/kernel/detector"
	"github.com/fettleops/fettle/internal/peer"
)

// measure runs detectors by name.
func measure(t *testing.T, set *evaluate.Set, seeds int, names ...string) map[string]evaluate.Result {
	t.Helper()
	together := evaluate.Team{Names: names, New: func(s detector.Settings) (evaluate.Panel, error) { return detector.NewPanel(names, s) }}
	results, err := evaluate.Run(t.Context(), set, []evaluate.Team{together}, evaluate.Options{Seeds: seeds})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]evaluate.Result{}
	for _, r := range results {
		t.Logf("%s: NAB %v, average precision %.3f, ROC AUC %.3f", r.Name, r.NAB, r.AveragePrecision, r.ROCAUC)
		out[r.Name] = r
	}
	return out
}

// least asserts that a figure is a number and not below a bar.
func least(t *testing.T, what string, got evaluate.Number, bar float64) {
	t.Helper()
	if !(float64(got) >= bar) {
		t.Errorf("%s is %.3f, below the bar of %v", what, float64(got), bar)
	}
}

// planted makes series of a daily wave with spikes, dips, shifts and swapped
// times of day in the labelled stretches.
func planted(series int) *evaluate.Set {
	set := &evaluate.Set{}
	for n := range series {
		rng := rand.New(rand.NewPCG(uint64(n), 21))
		s := evaluate.Series{Name: fmt.Sprintf("planted/%d.csv", n)}
		const rows = 3000
		for i := range rows {
			s.At = append(s.At, 1_699_833_600_000+int64(i)*300_000)
			s.Values = append(s.Values, 50+20*math.Sin(2*math.Pi*float64(i)/288)+2*rng.NormFloat64())
		}
		s.Labels = make([]bool, rows)
		for kind, at := range []int{700, 1300, 1900, 2500} {
			first := at + rng.IntN(300)
			length := []int{2, 3, 30, 40}[kind]
			for i := first; i < first+length; i++ {
				s.Labels[i] = true
				switch kind {
				case 0:
					s.Values[i] += 35
				case 1:
					s.Values[i] -= 35
				case 2:
					s.Values[i] += 30
				case 3:
					s.Values[i] = 50 - 20*math.Sin(2*math.Pi*float64(i)/288) + 2*rng.NormFloat64()
				}
			}
			s.Windows = append(s.Windows, evaluate.Window{First: first, Last: first + length - 1})
		}
		set.Series = append(set.Series, s)
	}
	return set
}

func TestShippedDetectorsFindWhatWasPlanted(t *testing.T) {
	got := measure(t, planted(4), 1, "default", "rcf", "zscore", "random")
	d := got["default"]
	least(t, "average precision of default", d.AveragePrecision, 0.5)
	least(t, "ROC AUC of default", d.ROCAUC, 0.8)
	least(t, "average precision of rcf", got["rcf"].AveragePrecision, 0.35)
	for _, other := range []string{"zscore", "random"} {
		least(t, "default beside "+other, d.AveragePrecision, float64(got[other].AveragePrecision)+0.1)
	}
}

// TestSharingChangesNoScore runs detectors together, where they share forests,
// and each by itself, on series with everything that shares or parts them.
func TestSharingChangesNoScore(t *testing.T) {
	set := planted(2)
	odd := &set.Series[1]
	for i := range odd.Values {
		switch {
		case i%37 == 5:
			odd.Values[i] = math.NaN()
		case i/100%9 == 4:
			odd.Values[i] = 50 // stands still
		}
	}
	odd.At[800] = odd.At[799] // told twice
	names := []string{"rcf", "zscore", "default"}
	together := evaluate.Team{Names: names, New: func(s detector.Settings) (evaluate.Panel, error) { return detector.NewPanel(names, s) }}
	for i := range set.Series {
		s := set.Series[i]
		s.At, s.Values = s.At[:900], s.Values[:900]
		for seed := range uint64(1 + i) {
			settings := detector.Settings{Seed: seed}
			got, err := evaluate.Scores(t.Context(), &s, together, settings)
			if err != nil {
				t.Fatal(err)
			}
			for k, n := range names {
				alone := evaluate.Alone(n, func(s detector.Settings) (detector.Detector, error) { return detector.New(n, s) })
				want, err := evaluate.Scores(t.Context(), &s, alone, settings)
				if err != nil {
					t.Fatal(err)
				}
				for row := range want[0] {
					if math.Float64bits(got[k][row]) != math.Float64bits(want[0][row]) {
						t.Fatalf("%s, seed %d, %s row %d scores %v together and %v alone", s.Name, seed, n, row, got[k][row], want[0][row])
					}
				}
			}
		}
	}
}

// some of the series of a set, for a test that is quick.
func some(set *evaluate.Set, names ...string) *evaluate.Set {
	out := *set
	out.Series = slices.DeleteFunc(slices.Clone(set.Series), func(s evaluate.Series) bool {
		return !slices.ContainsFunc(names, func(n string) bool { return strings.Contains(s.Name, n) })
	})
	return &out
}

func shippedSets(t *testing.T) (nab, cloud *evaluate.Set) {
	t.Helper()
	dir := sets(t)
	nab, err := evaluate.ReadNAB(os.DirFS(filepath.Join(dir, "nab")))
	if err != nil {
		t.Fatal(err)
	}
	if cloud, err = evaluate.ReadPoints(os.DirFS(filepath.Join(dir, "cloud-monitoring"))); err != nil {
		t.Fatal(err)
	}
	return nab, cloud
}

// A few series that take a second.
func TestShippedDetectorsOnSomeSeries(t *testing.T) {
	nab, cloud := shippedSets(t)
	points := measure(t, some(cloud, "outbound", "app2"), 1, "default", "rcf")
	least(t, "average precision of default", points["default"].AveragePrecision, 0.58)
	windows := measure(t, some(nab, "realAdExchange", "ec2_cpu_utilization_24ae8d", "rds_cpu_utilization_e47b3b"), 1, "default", "rcf")
	least(t, "NAB of default", windows["default"].NAB["standard"], 70)
}

// The bars of the product, on whatever of the sets is here, with five seeds.
func TestShippedDetectorsMeetTheBars(t *testing.T) {
	peer.Prove(t)
	nab, cloud := shippedSets(t)
	windows := measure(t, nab, 5, "default", "rcf")
	least(t, "NAB of default", windows["default"].NAB["standard"], 62)
	least(t, "NAB of default, leaving one category out", windows["default"].NAB["standard_leave_one_category_out"], 60)
	least(t, "NAB of rcf", windows["rcf"].NAB["standard"], 52)
	points := measure(t, cloud, 5, "default", "rcf")
	least(t, "average precision of default", points["default"].AveragePrecision, 0.55)
	least(t, "ROC AUC of default", points["default"].ROCAUC, 0.90)
}
