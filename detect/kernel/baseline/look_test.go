package baseline

import (
	"encoding/csv"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/peer"
)

type labelled struct {
	name     string
	at       []int64
	values   []float64
	positive []bool
}

// cloudSeries reads the labelled series of the cloud monitoring data set, or
// skips the test where it is absent.
func cloudSeries(t *testing.T) []labelled {
	t.Helper()
	root := os.Getenv("FETTLE_DATA")
	if root == "" {
		root = "/work/shared/data"
	}
	root = filepath.Join(root, "cloud-monitoring")
	if _, err := os.Stat(root); err != nil {
		t.Skipf("no labelled series: %v (set FETTLE_DATA to the folder that holds cloud-monitoring)", err)
	}
	var all []labelled
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".csv") {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		rows, err := csv.NewReader(f).ReadAll()
		if err != nil {
			return err
		}
		l := labelled{name: filepath.Base(path)}
		for _, row := range rows[1:] {
			at, err := time.Parse(time.RFC3339, strings.Replace(strings.TrimSuffix(row[0], "Z"), " ", "T", 1)+"Z")
			if err != nil {
				return err
			}
			v := math.NaN()
			if row[1] != "" {
				if v, err = strconv.ParseFloat(row[1], 64); err != nil {
					return err
				}
			}
			l.at, l.values, l.positive = append(l.at, at.UnixMilli()), append(l.values, v), append(l.positive, row[2] != "0")
		}
		all = append(all, l)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// scores runs a detector over a series. The data sets have a few rows twice,
// which a model refuses and intake drops; they score 0.
func (l labelled) scores(t *testing.T, p Processor) []float64 {
	t.Helper()
	scores := make([]float64, len(l.at))
	last := int64(math.MinInt64)
	for i, v := range l.values {
		if l.at[i] <= last {
			continue
		}
		last = l.at[i]
		s, err := p.Process(l.at[i], []float64{v}, false)
		if err != nil {
			t.Fatalf("%s row %d: %v", l.name, i, err)
		}
		scores[i] = s
	}
	return scores
}

// shipped are the scorers with their defaults.
func shipped() []Candidate {
	return []Candidate{
		{"null", func() (Processor, error) { return NewNull(1) }},
		{"random", func() (Processor, error) { return NewRandom(1, 1) }},
		{"differences", func() (Processor, error) { return NewDifferences(1) }},
		{"z-score", func() (Processor, error) { return NewZScore(ZScoreSettings{Features: 1}) }},
		{"mad", func() (Processor, error) { return NewMAD(MADSettings{Features: 1}) }},
		{"seasonal", func() (Processor, error) { return NewSeasonal(SeasonalSettings{Features: 1}) }},
		{"sub-pca", func() (Processor, error) { return NewSubPCA(SubPCASettings{Features: 1}) }},
		{"cusum", func() (Processor, error) { return NewCUSUM(CUSUMSettings{Features: 1}) }},
	}
}

// calibrate replaces each score by how rare one as high was before: 0 for what
// half of the scores exceed, 1 for what one in ten thousand does.
func calibrate(scores []float64) []float64 {
	w := newWindow(4096)
	calibrated := make([]float64, len(scores))
	for i, s := range scores {
		below, _ := slices.BinarySearch(w.sorted, s)
		exceeding := float64(w.len()-below+1) / float64(w.len()+1)
		calibrated[i] = min(max(0, -math.Log10(2*exceeding)/4), 1)
		w.push(s)
	}
	return calibrated
}

// measure is a mean over series.
type measure struct{ ap, roc, n float64 }

func (m *measure) add(scores []float64, positive []bool) {
	m.ap += averagePrecision(scores, positive)
	m.roc += areaUnderROC(scores, positive)
	m.n++
}

// TestFirstLook prints how well each scorer finds what people labelled, so that
// the choice of defaults, rules and champions can be checked. It asserts only
// that every scorer knows more than chance.
func TestFirstLook(t *testing.T) {
	peer.Prove(t)
	var order []string
	whole, half := map[string]*measure{}, map[string]*measure{}
	add := func(to map[string]*measure, name string, scores []float64, positive []bool) {
		if !slices.Contains(order, name) {
			order = append(order, name)
		}
		if to[name] == nil {
			to[name] = &measure{}
		}
		to[name].add(scores, positive)
	}
	for _, l := range cloudSeries(t) {
		skip, mid := len(l.at)*15/100, len(l.at)/2
		if !slices.Contains(l.positive[skip:], true) {
			continue
		}
		var past []Point
		for i := range mid {
			if i == 0 || l.at[i] > past[len(past)-1].At {
				past = append(past, Point{At: l.at[i], Values: []float64{l.values[i]}})
			}
		}
		// Only what has a past to choose a champion by is compared in its second half.
		late := len(past) >= minPast && slices.Contains(l.positive[mid:], true)
		raw, calibrated := map[string][]float64{}, [][]float64{}
		for _, c := range shipped() {
			p, err := c.NewFunc()
			if err != nil {
				t.Fatal(err)
			}
			raw[c.Name] = l.scores(t, p)
			add(whole, c.Name, raw[c.Name][skip:], l.positive[skip:])
			if late {
				add(half, c.Name, raw[c.Name][mid:], l.positive[mid:])
			}
			switch c.Name {
			case "differences", "mad", "seasonal", "sub-pca":
				calibrated = append(calibrated, calibrate(raw[c.Name]))
			}
		}
		for _, r := range []Rule{Mean, Power, Max, NoisyOr} {
			joint, now := make([]float64, len(l.at)), make([]float64, len(calibrated))
			for i := range joint {
				for c := range calibrated {
					now[c] = calibrated[c][i]
				}
				var err error
				if joint[i], err = r.Join(now, []float64{1, 1, 1, 1}); err != nil {
					t.Fatal(err)
				}
			}
			add(whole, "four by "+string(r), joint[skip:], l.positive[skip:])
			if late {
				add(half, "four by "+string(r), joint[mid:], l.positive[mid:])
			}
		}
		if late {
			// Without the last, the CUSUM, which is for shifts alone.
			standings, err := Champion(past, shipped()[:7], Trials{Seed: 1})
			if err != nil {
				t.Fatal(err)
			}
			first := standings[0].Name
			t.Logf("%-16s the champion of its first half is %s, %.2f before %s, %.2f", l.name, first, standings[0].AveragePrecision, standings[1].Name, standings[1].AveragePrecision)
			add(half, "champion", raw[first][mid:], l.positive[mid:])
		}
	}
	show := func(m *measure) string {
		if m == nil {
			return "  -     -  "
		}
		return fmt.Sprintf("%.3f %.3f (%.0f)", m.ap/m.n, m.roc/m.n, m.n)
	}
	t.Log("AP and ROC AUC after the first 15%, and in the second half, mean over (n) series")
	for _, name := range order {
		t.Logf("%-18s %-18s %s", name, show(whole[name]), show(half[name]))
	}
	chance := whole["random"].ap / whole["random"].n
	for _, name := range order[2:] {
		if m := whole[name]; m != nil && m.ap/m.n < 2*chance {
			t.Errorf("%s has an average precision of %.3f, chance has %.3f", name, m.ap/m.n, chance)
		}
	}
}
