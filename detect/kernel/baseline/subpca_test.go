package baseline

import (
	"math"
	"testing"
)

func newSubPCA(t testing.TB, s SubPCASettings) *SubPCA {
	t.Helper()
	m, err := NewSubPCA(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A sine that turns back on its way down: each value has been seen a hundred
// times, only their order is new.
func TestSubPCASeesAShape(t *testing.T) {
	m := newSubPCA(t, SubPCASettings{Features: 1, Shingle: 12})
	z, err := NewZScore(ZScoreSettings{Features: 1})
	if err != nil {
		t.Fatal(err)
	}
	g := new(splitmix)
	usual, wrong, wrongZ, usualZ := 0.0, 0.0, 0.0, 0.0
	for i := range 2000 {
		phase := float64(i)
		if i >= 1902 && i < 1908 {
			phase = float64(1901 - (i - 1901))
		}
		x := []float64{10 + 5*math.Sin(phase*2*math.Pi/12) + 0.1*g.normal()}
		s, sz := process(t, m, int64(i), x, false), process(t, z, int64(i), x, false)
		switch {
		case i >= 1902 && i < 1908:
			wrong, wrongZ = max(wrong, s), max(wrongZ, sz)
		case i >= 1000 && i < 1902:
			usual, usualZ = max(usual, s), max(usualZ, sz)
		}
	}
	if wrong < 3*usual {
		t.Errorf("a turned shape scores %v, usual ones up to %v", wrong, usual)
	}
	if wrongZ > usualZ*1.1 {
		t.Errorf("the z-score sees it too: %v and %v", wrongZ, usualZ)
	}
}

func TestSubPCAExpectsTheNextPoint(t *testing.T) {
	m := newSubPCA(t, SubPCASettings{Features: 2, Shingle: 12})
	worst := 0.0
	for i := range 1500 {
		x := []float64{100 + 30*math.Sin(float64(i)*2*math.Pi/12), 1e6 + 1e5*math.Cos(float64(i)*2*math.Pi/12)}
		lost := i%97 == 0
		given := x
		if lost {
			given = []float64{math.NaN(), x[1]}
		}
		process(t, m, int64(i), given, false)
		if e := m.Expected(nil); i > 1000 {
			worst = max(worst, math.Abs(e[0]-x[0])/30, math.Abs(e[1]-x[1])/1e5)
		}
	}
	if worst > 0.15 {
		t.Errorf("the next point of a sine is expected up to %v amplitudes off", worst)
	}
}

// After many points the directions are those of the covariance: at right
// angles, of length one, and each a multiple of itself under it.
func TestSubPCAFindsTheDirections(t *testing.T) {
	m := newSubPCA(t, SubPCASettings{Features: 1, Shingle: 16, Components: 3})
	g := new(splitmix)
	v := 0.0
	for i := range 6000 {
		v = 0.9*v + g.normal()
		process(t, m, int64(i), []float64{v}, false)
	}
	product := make([]float64, m.d)
	for a := range m.k {
		row := m.basis[a*m.d : (a+1)*m.d]
		for b := range m.k {
			dot := 0.0
			for o := range row {
				dot += row[o] * m.basis[b*m.d+o]
			}
			want := 0.0
			if a == b {
				want = 1
			}
			if math.Abs(dot-want) > 1e-9 {
				t.Errorf("directions %d and %d have a product of %v, want %v", a, b, dot, want)
			}
		}
		m.multiply(product, row)
		for o := range product {
			product[o] -= m.variance[a] * row[o]
		}
		if off := norm(product); off > 0.1*m.variance[a] {
			t.Errorf("direction %d, variance %v, is turned by %v", a, m.variance[a], off)
		}
		if a > 0 && m.variance[a] > m.variance[a-1] {
			t.Errorf("variances %v are not in order", m.variance)
		}
	}
	if rest := (m.total() - m.variance[0] - m.variance[1] - m.variance[2]) / 13; math.Abs(rest-m.residual) > 0.05*rest {
		t.Errorf("residual variance %v, want about %v", m.residual, rest)
	}
}

// What varies in fewer directions than the model has must not divide by zero,
// and what leaves them is as strange as can be.
func TestSubPCAOfAConstant(t *testing.T) {
	m := newSubPCA(t, SubPCASettings{Features: 2})
	at := int64(0)
	next := func(a, b float64) float64 { at++; return process(t, m, at, []float64{a, b}, false) }
	for range 200 {
		if got := next(5, 7); got != 0 {
			t.Fatalf("a constant scores %v", got)
		}
	}
	if got := next(5, 8); got < 20 {
		t.Errorf("the first move of a constant scores %v", got)
	}
	if b := m.Blame(nil); b[1] < 0.99 {
		t.Errorf("feature 1 moved, blame %v", b)
	}
	for range 5000 {
		next(5, 8)
	}
	if got := next(5, 8); got > 2 {
		t.Errorf("5000 points later it scores %v", got)
	}
}

func TestSolve(t *testing.T) {
	g := new(splitmix)
	for k := 1; k <= 6; k++ {
		b := make([]float64, k*k)
		for i := range b {
			b[i] = g.normal()
		}
		a, x, y := make([]float64, k*k), make([]float64, k), make([]float64, k)
		for i := range k {
			x[i] = g.normal()
			for j := range k {
				for c := range k {
					a[i*k+j] += b[i*k+c] * b[j*k+c]
				}
			}
			a[i*k+i]++
		}
		for i := range k {
			for j := range k {
				y[i] += a[i*k+j] * x[j]
			}
		}
		solve(a, y)
		for i := range x {
			if math.Abs(x[i]-y[i]) > 1e-9 {
				t.Fatalf("%d unknowns: %v, want %v", k, y, x)
			}
		}
	}
}
