package rcf

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/fettleops/fettle/internal/peer"
)

func newForest(t testing.TB, o Options) *Forest {
	t.Helper()
	f, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func process(t testing.TB, f *Forest, p *Pass, rows [][]float64) []float64 {
	t.Helper()
	var scores []float64
	for _, row := range rows {
		if err := f.Process(row, p); err != nil {
			t.Fatal(err)
		}
		scores = append(scores, p.Score)
	}
	return scores
}

func save(t testing.TB, f *Forest) []byte {
	t.Helper()
	data, err := f.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// shapes are forests that differ in whatever could go wrong on its own.
var shapes = []Options{
	{Dims: 1, Trees: 10, Samples: 32},
	{Dims: 1, Shingle: 8, Trees: 10, Samples: 64},
	{Dims: 4, Shingle: 8, Trees: 5, Samples: 32},
	{Dims: 3, Shingle: 3, Trees: 7, Samples: 17, InitialAccept: 0.2, Seed: 9},
	{Dims: 3, Shingle: 3, Trees: 7, Samples: 17, External: true},
	{Dims: 2, Shingle: 1, Trees: 300, Samples: 8, TimeDecay: 0.02},
	{Dims: 2, Trees: 5, Samples: 16, TimeDecay: NoDecay, Shingle: 4},
	{Dims: 1, Shingle: 48, Trees: 3, Samples: 4096, OutputAfter: 60},
	{Dims: 2, Shingle: 2, Trees: 10, Samples: 64, Scoring: Displacement},
	{Dims: 2, Shingle: 2, Trees: 10, Samples: 64, Scoring: CoDisplacement},
	{Dims: 1, Trees: 1, Samples: 2, OutputAfter: 1},
}

func (o Options) rows(seed uint64, n int) [][]float64 {
	width := o.Dims
	if o.External {
		width *= o.Shingle
	}
	rows := stream(seed, n, width)
	for i, row := range rows {
		if i%7 == 3 {
			copy(row, rows[i-1]) // a repetition
		}
		if i%5 == 0 {
			for d := range row {
				row[d] = math.Round(row[d] / 10)
			}
		}
	}
	return rows
}

func eachShape(t *testing.T, n int, test func(t *testing.T, o Options, rows [][]float64)) {
	for _, o := range shapes {
		t.Run(fmt.Sprintf("dims=%d/shingle=%d/trees=%d/samples=%d/scoring=%d", o.Dims, o.Shingle, o.Trees, o.Samples, o.Scoring), func(t *testing.T) {
			t.Parallel()
			test(t, o, o.rows(3, n))
		})
	}
}

func TestInvariants(t *testing.T) {
	eachShape(t, 3000, func(t *testing.T, o Options, rows [][]float64) {
		f := newForest(t, o)
		p := &Pass{Attribute: true}
		for i, row := range rows {
			switch {
			case i%11 == 5:
				if err := f.Observe(row, p); err != nil {
					t.Fatal(err)
				}
			default:
				process(t, f, p, rows[i:i+1])
			}
			if i%997 == 0 || i == len(rows)-1 {
				check(t, f)
			}
			if i == 1500 {
				if err := f.SetTimeDecay(0.005); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

func TestScalarIsTheSame(t *testing.T) {
	eachShape(t, 1500, func(t *testing.T, o Options, rows [][]float64) {
		scalar := o
		scalar.Scalar = true
		a, b := newForest(t, o), newForest(t, scalar)
		p, q := &Pass{Attribute: true}, &Pass{Attribute: true}
		for i := range rows {
			process(t, a, p, rows[i:i+1])
			process(t, b, q, rows[i:i+1])
			if p.Score != q.Score || !slices.Equal(p.High, q.High) || !slices.Equal(p.Low, q.Low) {
				t.Fatalf("row %d scores %v with vectors and %v without", i, p.Score, q.Score)
			}
		}
		if !bytes.Equal(save(t, a), save(t, b)) {
			t.Error("the forests differ")
		}
	})
}

func TestSeeds(t *testing.T) {
	o := shapes[1]
	rows := o.rows(1, 1000)
	var p Pass
	a, b := newForest(t, o), newForest(t, o)
	if !slices.Equal(process(t, a, &p, rows), process(t, b, &Pass{}, rows)) {
		t.Error("equal seeds gave different scores")
	}
	o.Seed = 2
	if slices.Equal(process(t, newForest(t, o), &p, rows), process(t, newForest(t, shapes[1]), &p, rows)) {
		t.Error("different seeds gave equal scores")
	}
}

// A score never depends on what comes later: otherwise a test on the past says
// nothing about the future.
func TestPrefix(t *testing.T) {
	eachShape(t, 800, func(t *testing.T, o Options, rows [][]float64) {
		other := o.rows(99, 800)
		copy(other[:500], rows[:500])
		var p Pass
		a := process(t, newForest(t, o), &p, rows)
		b := process(t, newForest(t, o), &p, other)
		if !slices.Equal(a[:500], b[:500]) {
			t.Error("scores of a prefix depend on what follows")
		}
		if slices.Equal(a[500:], b[500:]) {
			t.Error("different rows score the same")
		}
	})
}

func TestAttributionSumsToScore(t *testing.T) {
	eachShape(t, 1200, func(t *testing.T, o Options, rows [][]float64) {
		f, plain := newForest(t, o), newForest(t, o)
		p := &Pass{Attribute: true}
		for i := range rows {
			process(t, f, p, rows[i:i+1])
			if want := process(t, plain, &Pass{}, rows[i:i+1])[0]; p.Score != want {
				t.Fatalf("row %d scores %v with attribution and %v without", i, p.Score, want)
			}
			if p.Score == 0 {
				continue
			}
			sum := 0.0
			for d := range p.High {
				if p.High[d] < 0 || p.Low[d] < 0 {
					t.Fatalf("row %d: dimension %d has %v and %v", i, d, p.High[d], p.Low[d])
				}
				sum += p.High[d] + p.Low[d]
			}
			if len(p.High) != o.Dims*max(1, o.Shingle) || math.Abs(sum/p.Score-1) > 1e-9 {
				t.Fatalf("row %d: %d parts sum to %v, want %v", i, len(p.High), sum, p.Score)
			}
		}
	})
}

func TestSaveAndLoad(t *testing.T) {
	eachShape(t, 2000, func(t *testing.T, o Options, rows [][]float64) {
		never, p := newForest(t, o), &Pass{Attribute: true}
		saved := newForest(t, o)
		for i := range rows {
			if i%333 == 7 {
				data := save(t, saved)
				if bytes := saved.Bytes(); len(data) >= bytes {
					t.Errorf("saved at row %d: %d bytes, live %d", i, len(data), bytes)
				}
				if i%2 == 0 {
					saved.Rest(p)
				} else {
					var err error
					if saved, err = Load(o, data); err != nil {
						t.Fatal(err)
					}
					check(t, saved)
				}
			}
			if i == 1100 {
				for _, f := range []*Forest{never, saved} {
					if err := f.SetTimeDecay(0.003); err != nil {
						t.Fatal(err)
					}
				}
				o = saved.Options()
			}
			process(t, never, p, rows[i:i+1])
			want := slices.Concat([]float64{p.Score}, p.High, p.Low)
			process(t, saved, p, rows[i:i+1])
			if got := slices.Concat([]float64{p.Score}, p.High, p.Low); !slices.Equal(got, want) {
				t.Fatalf("row %d scores %v after a save, %v without", i, got[0], want[0])
			}
		}
		if !bytes.Equal(save(t, never), save(t, saved)) {
			t.Error("the forests differ in the end")
		}
		without := never.Options()
		without.BoxMass = 0
		if got, err := Saved(save(t, saved)); err != nil || got != without {
			t.Errorf("options are saved as %+v, %v", got, err)
		}
	})
}

func TestLoadRefuses(t *testing.T) {
	o := shapes[1]
	f := newForest(t, o)
	process(t, f, &Pass{}, o.rows(1, 500))
	data := save(t, f)
	refused := func(what string, o Options, data []byte, want string) {
		t.Helper()
		_, err := Load(o, data)
		if !errors.Is(err, ErrState) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error that says %q", what, err, want)
		}
	}
	other := o
	other.Samples, other.Trees = 128, 20
	refused("other sizes", other, data, "Samples is 64 there and 128 here")
	refused("other sizes", other, data, "Trees is 10 there and 20 here")
	refused("nothing", o, nil, "not a forest")
	refused("another version", o, append([]byte("rcf\x00\x07"), data[5:]...), "version is 7")
	for at := range data {
		broken := bytes.Clone(data)
		broken[at] ^= 0x10
		if _, err := Load(o, broken); !errors.Is(err, ErrState) {
			t.Fatalf("byte %d changed: %v", at, err)
		}
	}
	refused("half of it", o, data[:len(data)/2], "checksum")
	slower := o
	slower.TimeDecay = 1e-4
	g, err := Load(slower, data)
	if err != nil || g.Options().TimeDecay != 1e-4 {
		t.Errorf("another decay: %v", err)
	}
}

func TestRefusedRowsChangeNothing(t *testing.T) {
	eachShape(t, 300, func(t *testing.T, o Options, rows [][]float64) {
		f, p := newForest(t, o), &Pass{}
		process(t, f, p, rows)
		before := save(t, f)
		width := len(rows[0])
		bad := func(x float64) []float64 {
			row := slices.Clone(rows[0])
			row[width-1] = x
			return row
		}
		for _, row := range [][]float64{nil, make([]float64, width+1), bad(math.NaN()), bad(math.Inf(1)), bad(math.Inf(-1)), bad(1e39)} {
			for _, err := range []error{f.Process(row, p), f.Observe(row, p), f.Score(row, p), f.Density(row, &Density{}, p)} {
				if !errors.Is(err, ErrRow) {
					t.Errorf("row %v: %v", row, err)
				}
			}
			if len(row) == width {
				if _, err := f.AppendScores(nil, append(slices.Clone(rows[1]), row...), p); !errors.Is(err, ErrRow) {
					t.Errorf("batch with row %v: %v", row, err)
				}
			}
		}
		if !bytes.Equal(before, save(t, f)) {
			t.Error("a refused row changed the forest")
		}
	})
}

func TestScoreChangesNothing(t *testing.T) {
	eachShape(t, 700, func(t *testing.T, o Options, rows [][]float64) {
		f, p, q := newForest(t, o), &Pass{Attribute: true}, &Pass{Attribute: true}
		for i, row := range rows {
			if i%50 == 20 {
				before := save(t, f)
				if err := f.Score(row, q); err != nil {
					t.Fatal(err)
				}
				if _, err := f.AppendNeighbors(nil, row, 3, q); err != nil {
					t.Fatal(err)
				}
				if err := f.Density(row, &Density{}, q); err != nil {
					t.Fatal(err)
				}
				if err := f.Impute(row, &Estimate{}, q); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(before, save(t, f)) {
					t.Fatal("asking changed the forest")
				}
				if err := f.Score(row, q); err != nil {
					t.Fatal(err)
				}
			}
			process(t, f, p, rows[i:i+1])
			if i%50 == 20 && (p.Score != q.Score || !slices.Equal(p.High, q.High)) {
				t.Fatalf("row %d scores %v, then %v when learned", i, q.Score, p.Score)
			}
		}
	})
}

func TestBatch(t *testing.T) {
	o := shapes[2]
	rows := o.rows(5, 600)
	var p Pass
	a, b := newForest(t, o), newForest(t, o)
	scores, err := b.AppendScores([]float64{-1}, slices.Concat(rows...), &p)
	if err != nil {
		t.Fatal(err)
	}
	if want := process(t, a, &p, rows); !slices.Equal(scores[1:], want) || scores[0] != -1 {
		t.Error("a batch scores differently from its rows")
	}
}

func TestHeldRowsAreNotLearned(t *testing.T) {
	o := Options{Dims: 1, Shingle: 2, Samples: 64, Trees: 20}
	f, p := newForest(t, o), &Pass{}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 500 {
		process(t, f, p, [][]float64{{rng.NormFloat64()}})
	}
	learned := f.Learned()
	for range 500 {
		if err := f.Observe([]float64{100 + rng.NormFloat64()}, p); err != nil {
			t.Fatal(err)
		}
		if p.Score < 2 {
			t.Fatalf("a row that was never learned scores %v", p.Score)
		}
	}
	if f.Learned() != learned || f.Rows() != learned+501 {
		t.Errorf("learned %d of %d rows", f.Learned(), f.Rows())
	}
}

func TestApproximateScore(t *testing.T) {
	o := Options{Dims: 1, Shingle: 8, Trees: 100, Samples: 128}
	exact, near, p, q := newForest(t, o), newForest(t, o), &Pass{}, &Pass{Precision: 0.1}
	asked, squares := 0, 0.0
	rows := o.rows(2, 1500)
	for i := range rows {
		process(t, exact, p, rows[i:i+1])
		process(t, near, q, rows[i:i+1])
		asked += q.Trees
		squares += (p.Score - q.Score) * (p.Score - q.Score)
	}
	if off := math.Sqrt(squares / float64(len(rows))); asked > 40*len(rows) || off > 0.1 {
		t.Errorf("asked %d trees of %d, off by %v", asked/len(rows), o.Trees, off)
	}
	if !bytes.Equal(save(t, exact), save(t, near)) {
		t.Error("an approximate score changed what was learned")
	}
}

func TestOptions(t *testing.T) {
	f := func(o Options, want string) {
		t.Helper()
		_, err := New(o)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want an error that says %q", o, err, want)
		}
	}
	f(Options{}, "Dims is 0")
	f(Options{Dims: 1, Shingle: -1}, "Shingle is -1")
	f(Options{Dims: 1, Trees: 5000}, "Trees is 5000")
	f(Options{Dims: 1, Samples: 1}, "Samples is 1")
	f(Options{Dims: 1, TimeDecay: -2}, "TimeDecay is -2")
	f(Options{Dims: 1, TimeDecay: math.NaN()}, "TimeDecay is NaN")
	f(Options{Dims: 1, InitialAccept: 1.5}, "InitialAccept is 1.5")
	f(Options{Dims: 1, OutputAfter: -1}, "OutputAfter is -1")
	f(Options{Dims: 1, Scoring: 7}, "Scoring is 7")
	f(Options{Dims: 1, BoxMass: 1}, "BoxMass is 1")
	f(Options{Dims: 1, BoxMass: 17}, "BoxMass is 17")
	f(Options{Dims: 1000, Samples: 32768}, "Samples is 32768")
	got := newForest(t, Options{Dims: 2}).Options()
	if want := (Options{Dims: 2, Shingle: 1, Trees: 50, Samples: 256, TimeDecay: 1. / 2560, InitialAccept: 1, OutputAfter: 64, BoxMass: 2}); got != want {
		t.Errorf("defaults are %+v, want %+v", got, want)
	}
	if err := newForest(t, Options{Dims: 1}).SetTimeDecay(2); err == nil {
		t.Error("a decay of 2 was set")
	}
}

// Ten thousand models wait on one machine: what one takes at rest is a promise.
func TestRestingMemory(t *testing.T) {
	f := func(dims, lean, most int) {
		t.Helper()
		forest, p := newForest(t, Options{Dims: dims, Shingle: 8, BoxMass: 10}), &Pass{}
		rows := 12000
		if peer.Proving() {
			rows = 40000
		}
		process(t, forest, p, stream(1, rows, dims))
		live := forest.Bytes()
		if live > lean {
			t.Errorf("%d dimensions take %d bytes awake, want at most %d", 8*dims, live, lean)
		}
		forest.Rest(nil)
		if got := forest.Bytes(); got > most || got >= live {
			t.Errorf("%d dimensions take %d bytes at rest and %d awake, want at most %d", 8*dims, got, live, most)
		}
		data := save(t, forest)
		if len(data) > most*2/3 {
			t.Errorf("%d dimensions are saved in %d bytes", 8*dims, len(data))
		}
		t.Logf("%d dimensions: %d bytes awake, %d at rest, %d saved", 8*dims, live, forest.Bytes(), len(data))
	}
	f(1, 600_000, 350_000)
	f(4, 1_400_000, 600_000)
}

// A pass goes from forest to forest, whatever their shapes, and leaves no trace.
func TestPassServesManyForests(t *testing.T) {
	var many, alone []*Forest
	var rows [][][]float64
	for _, o := range shapes {
		many, alone, rows = append(many, newForest(t, o)), append(alone, newForest(t, o)), append(rows, o.rows(8, 700))
	}
	p := &Pass{Attribute: true}
	passes := make([]Pass, len(many))
	for i := range 600 {
		for j, f := range many {
			process(t, f, p, rows[j][i:i+1])
			process(t, alone[j], &passes[j], rows[j][i:i+1])
			if p.Score != passes[j].Score {
				t.Fatalf("row %d of forest %d scores %v among others, %v alone", i, j, p.Score, passes[j].Score)
			}
		}
	}
	i := 600
	allocs := testing.AllocsPerRun(50, func() {
		for j, f := range many {
			if err := f.Process(rows[j][i], p); err != nil {
				t.Fatal(err)
			}
		}
		i++
	})
	// The list of free places behind the ring may grow now and then.
	if allocs > 1 {
		t.Errorf("%v allocations for a row of each forest", allocs)
	}
}
