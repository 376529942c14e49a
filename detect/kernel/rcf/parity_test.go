package rcf

import (
	"encoding/csv"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/fettleops/fettle/internal/peer"
)

// The reference is the mean and the deviation, over 20 seeds, of the scores of
// AWS's Java library for five streams; the data says how they were made and
// what agreement is. Fewer seeds than FETTLE_PROVE takes make the test less
// sharp, not weaker in form: the tolerance is in standard errors.

type reference struct {
	rows [][]float64
	col  map[string]int
}

func readReference(t *testing.T, name string) *reference {
	t.Helper()
	file, err := os.Open(filepath.Join(dataDir(t), "rcf-reference", name))
	if err != nil {
		t.Skipf("the reference scores are not here: %v", err)
	}
	defer file.Close()
	records, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	r := &reference{col: map[string]int{}}
	for i, name := range records[0] {
		r.col[name] = i
	}
	for _, record := range records[1:] {
		row := make([]float64, len(record))
		for i, s := range record {
			if row[i], err = strconv.ParseFloat(s, 64); err != nil {
				t.Fatal(err)
			}
		}
		r.rows = append(r.rows, row)
	}
	return r
}

func dataDir(t *testing.T) string {
	if dir := os.Getenv("FETTLE_DATA"); dir != "" {
		return dir
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "..", "shared", "data")
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the package")
		}
		dir = filepath.Dir(dir)
	}
}

// moments are the running mean and sum of squared deviations of a row (Welford).
type moments struct{ n, mean, m2 float64 }

func (m *moments) add(x float64) {
	m.n++
	d := x - m.mean
	m.mean += d / m.n
	m.m2 += d * (x - m.mean)
}

func (m *moments) variance() float64 { return m.m2 / (m.n - 1) }

// TestParity compares with the reference. The quick form takes fewer seeds and
// the cases that take less time; both paths give the same bits, which
// TestScalarIsTheSame proves for every option.
func TestParity(t *testing.T) {
	seeds, paths := 6, []bool{false}
	if peer.Proving() {
		seeds, paths = 40, []bool{false, true}
	}
	f := func(name string, dims, shingle int, slow bool) {
		if slow && !peer.Proving() {
			return
		}
		for _, scalar := range paths {
			t.Run(strings.TrimSuffix(name, ".csv")+"/scalar="+strconv.FormatBool(scalar), func(t *testing.T) {
				t.Parallel()
				agree(t, readReference(t, name), Options{Dims: dims, Shingle: shingle, OutputAfter: 64, Scalar: scalar}, seeds)
			})
		}
	}
	f("case1_cpu5f5533_d1_s1.csv", 1, 1, true)
	f("case2_cpu5f5533_d1_s8.csv", 1, 8, false)
	f("case3_synthetic4_d4_s1_attr.csv", 4, 1, false)
	f("case4_synthetic4_d4_s4.csv", 4, 4, true)
	f("case4_synthetic4_d4_s4_attr.csv", 4, 4, true)
	f("case5_duplicates_d2_s1.csv", 2, 1, false)
}

func agree(t *testing.T, r *reference, o Options, seeds int) {
	dims := o.Dims * o.Shingle
	scores := make([]moments, len(r.rows))
	_, scored := r.col["score_mean"]
	_, blamed := r.col["high0"]
	cells := make([]moments, len(r.rows)*2*dims)
	input := r
	if !scored {
		input = readReference(t, "case4_synthetic4_d4_s4.csv")
	}
	for seed := range seeds {
		o.Seed = uint64(seed + 1)
		f, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		p := Pass{Attribute: blamed}
		for i, row := range input.rows[:len(r.rows)] {
			if err := f.Process(row[1:1+o.Dims], &p); err != nil {
				t.Fatal(err)
			}
			scores[i].add(p.Score)
			for d := range p.High {
				cells[i*2*dims+d].add(p.High[d])
				cells[i*2*dims+dims+d].add(p.Low[d])
			}
		}
		if seed == 0 {
			check(t, f)
		}
	}
	if scored {
		agreeOnScores(t, r, scores)
	}
	if blamed {
		agreeOnBlame(t, r, dims, cells)
	}
}

// ready is the first row that is scored.
const ready = 64

func agreeOnScores(t *testing.T, r *reference, scores []moments) {
	mean, sd := r.col["score_mean"], r.col["score_sd"]
	var off, squares, ours, theirs float64
	for i, row := range r.rows {
		if i < ready {
			if scores[i].mean != 0 {
				t.Fatalf("row %d scores %v before the forest is ready", i, scores[i].mean)
			}
			continue
		}
		se := math.Sqrt(row[sd]*row[sd]/20 + scores[i].variance()/scores[i].n)
		z := (scores[i].mean - row[mean]) / se
		if math.Abs(z) > 4 {
			off++
		}
		squares += z * z
		ours += scores[i].mean
		theirs += row[mean]
	}
	n := float64(len(r.rows) - ready)
	t.Logf("%.0f seeds: %.2f%% of points off by more than 4 standard errors, root mean square %.2f, mean %.5f against %.5f (%+.2f%%)",
		scores[0].n, 100*off/n, math.Sqrt(squares/n), ours/n, theirs/n, 100*(ours/theirs-1))
	if off > 0.01*n {
		t.Errorf("%.0f of %.0f points are off by more than 4 standard errors, want at most 1%%", off, n)
	}
	if d := math.Abs(ours/theirs - 1); d > 0.01 {
		t.Errorf("mean score is %.5f, want %.5f within 1%%", ours/n, theirs/n)
	}
}

func agreeOnBlame(t *testing.T, r *reference, dims int, cells []moments) {
	_, theirSD := r.col["high0_sd"]
	var off, n float64
	for column := range 2 * dims {
		name := "high" + strconv.Itoa(column)
		if column >= dims {
			name = "low" + strconv.Itoa(column-dims)
		}
		var ours, theirs float64
		for i, row := range r.rows[ready:] {
			cell := &cells[(i+ready)*2*dims+column]
			want := row[r.col[name]]
			ours += cell.mean
			theirs += want
			se := math.Sqrt(cell.variance() * (1./20 + 1/cell.n))
			if theirSD {
				sd := row[r.col[name+"_sd"]]
				se = math.Sqrt(sd*sd/20 + cell.variance()/cell.n)
			}
			if math.Abs(cell.mean-want) > math.Max(4*se, 1e-6) {
				off++
			}
			n++
		}
		if d := math.Abs(ours/theirs - 1); !theirSD && d > 0.03 {
			t.Errorf("mean of %s is %.5f, want %.5f within 3%%", name, ours/n, theirs/n)
		}
	}
	t.Logf("%.0f seeds: %.2f%% of the cells of the attribution off by more than 4 standard errors", cells[len(cells)-1].n, 100*off/n)
	if off > 0.01*n {
		t.Errorf("%.0f of %.0f cells of the attribution are off by more than 4 standard errors, want at most 1%%", off, n)
	}
}
