package threshold

import (
	"encoding/csv"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
)

// reference reads a file of data/rcf-reference by columns, NaN for empty cells.
// The folder is FETTLE_DATA, or shared/data beside the repository.
func reference(t *testing.T, name string) map[string][]float64 {
	t.Helper()
	root := os.Getenv("FETTLE_DATA")
	for _, beside := range []string{"../../../../shared/data", "../../../../../shared/data"} {
		if root == "" {
			if _, err := os.Stat(filepath.Join(beside, "rcf-reference")); err == nil {
				root = beside
			}
		}
	}
	if root == "" {
		t.Skip("no reference scores: set FETTLE_DATA to the folder that holds rcf-reference")
	}
	f, err := os.Open(filepath.Join(root, "rcf-reference", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	columns := map[string][]float64{}
	for _, row := range rows[1:] {
		for i, cell := range row {
			x := math.NaN()
			if cell != "" {
				if x, err = strconv.ParseFloat(cell, 64); err != nil {
					t.Fatal(err)
				}
			}
			columns[rows[0][i]] = append(columns[rows[0][i]], x)
		}
	}
	return columns
}

// TestGraderFollowsAWS feeds the scores of the reference. The corrector of the
// library learns repaired scores after an anomaly, so single rows differ there;
// until the first anomaly every row must agree.
func TestGraderFollowsAWS(t *testing.T) {
	const first, digits = 64, 1e-5 // row of the first score; six digits are printed
	for _, file := range []string{"case6_trcf_cpu24ae8d.csv", "case6_trcf_reqlatency.csv"} {
		ref := reference(t, file)
		for _, seed := range []string{"s42", "s7", "s101", "s2024", "s31337"} {
			g := must(NewGrader(GraderSettings{Shingled: true, Adjust: true, Scaled: true}))
			scores, thresholds, grades := ref[seed+"_score"], ref[seed+"_threshold"], ref[seed+"_grade"]
			calm := true // no score above the threshold so far
			var errors []float64
			for i := first; i < len(scores); i++ {
				grade, threshold := g.Update(scores[i], false)
				off := math.Abs(threshold-thresholds[i]) / thresholds[i]
				errors = append(errors, off)
				if calm && off > digits {
					t.Fatalf("%s %s row %d: threshold %v, want %v", file, seed, i, threshold, thresholds[i])
				}
				calm = calm && scores[i] < thresholds[i]
				// The corrector only takes grades away.
				if grades[i] > 0 && (grade == 0 || !near(grade, grades[i], 0.07)) {
					t.Errorf("%s %s row %d: grade %v, want %v", file, seed, i, grade, grades[i])
				}
			}
			slices.Sort(errors)
			if median, p99 := errors[len(errors)/2], errors[len(errors)*99/100]; median > 1e-5 || p99 > 0.05 {
				t.Errorf("%s %s: thresholds are off by %v in the median and %v in the 99th percentile, want 0.00001 and 0.05", file, seed, median, p99)
			}
		}
		for i, want := range ref["confidence"] {
			if got := Confidence(1.0/2560, i, first, 1); math.Abs(got-want) > digits {
				t.Fatalf("%s row %d: confidence %v, want %v", file, i, got, want)
			}
		}
	}
}

func TestConfidence(t *testing.T) {
	f := func(decay float64, learned, needed int, quality, want float64) {
		t.Helper()
		if got := Confidence(decay, learned, needed, quality); !near(got, want, 1e-6) {
			t.Errorf("Confidence(%v, %d, %d, %v) = %v, want %v", decay, learned, needed, quality, got, want)
		}
	}
	f(1.0/2560, 0, 0, 1, 0)
	f(1.0/2560, 64, 64, 1, 0)
	f(0.1, 10_000_000, 64, 0.7, 0.7) // e^n would not fit a float64
	f(0.01, 2001, 64, 1, 1)
	f(0, 100, 25, 1, 0.75) // nothing is forgotten: the share of the points
	for n := 65; n < 200_000; n += 501 {
		if a, b := Confidence(1.0/2560, n, 64, 1), Confidence(1.0/2560, n+501, 64, 1); b < a || a <= 0 || b > 1 {
			t.Fatalf("confidence %v at %d, %v at %d", a, n, b, n+501)
		}
	}
}

func TestGraderThresholds(t *testing.T) {
	g := must(NewGrader(GraderSettings{}))
	f := func(score, wantGrade, wantThreshold, tolerance float64) {
		t.Helper()
		if grade, threshold := g.Read(score); grade != wantGrade || !near(threshold, wantThreshold, tolerance) {
			t.Errorf("Read(%v) = %v over %v, want %v over %v", score, grade, threshold, wantGrade, wantThreshold)
		}
	}
	f(1.4, 0, 1.5, 0)
	f(3.1, 1, 1.5, 0) // full at twice the initial threshold
	for range 10 {
		g.Learn(1)
	}
	f(1.49, 0, 1.5, 0)
	g.Learn(1)
	f(1, 0, 1.45, 1e-9) // the first of ten steps of the blend
	for range 1000 {
		g.Learn(1)
	}
	f(1, 0, 1, 1e-9)
	f(1+1e-9, 0, 1, 1e-9) // rounding is no event in constant scores
	f(1.1, 1, 1, 1e-9)
	f(math.NaN(), 0, 1, 1e-9)
	rng := rand.New(rand.NewPCG(1, 1))
	for range 10_000 {
		g.Learn(1 + 0.1*rng.NormFloat64())
	}
	// sigma is at most the deviation of 0.1: 1 + (3-1)*sigma + 0.1.
	if _, threshold := g.Read(1); threshold < 1.2 || threshold > 1.3+0.01 {
		t.Errorf("threshold %v, want 1.2 to 1.3", threshold)
	}
	grades := map[float64]bool{}
	for score := 1.0; score < 2; score += 0.001 {
		grade, threshold := g.Read(score)
		grades[grade] = true
		if score < threshold && grade != 0 || grade < 0 || grade > 1 || grade*16 != math.Trunc(grade*16) {
			t.Fatalf("grade %v for the score %v", grade, score)
		}
	}
	if len(grades) != 17 {
		t.Errorf("%d grades from 0 to 1, want 17", len(grades))
	}
}

// TestGraderIsNotSwayedByAnomalies: the cap on what is learned is why.
func TestGraderIsNotSwayedByAnomalies(t *testing.T) {
	g := must(NewGrader(GraderSettings{Shingled: true}))
	rng := rand.New(rand.NewPCG(2, 1))
	for i := range 3000 {
		score := 1 + 0.05*rng.NormFloat64()
		if i%300 == 299 {
			score = 6
		}
		if grade, threshold := g.Update(score, false); i > 100 && (score == 6) != (grade > 0.5) {
			t.Fatalf("point %d: score %v has grade %v over %v", i, score, grade, threshold)
		}
	}
}

func TestGraderRefusesSettings(t *testing.T) {
	f := func(s GraderSettings, ok bool) {
		t.Helper()
		if _, err := NewGrader(s); (err == nil) != ok {
			t.Errorf("NewGrader(%+v): error %v", s, err)
		}
	}
	f(GraderSettings{}, true)
	f(GraderSettings{Z: 1.9}, false)
	f(GraderSettings{Discount: math.NaN()}, false)
	f(GraderSettings{Absolute: 3}, false) // above the initial threshold
	f(GraderSettings{Absolute: 0.1, Initial: 0.5, Cap: 1}, true)
}
