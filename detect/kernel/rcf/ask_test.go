package rcf

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
)

func TestImpute(t *testing.T) {
	o := Options{Dims: 3, Seed: 3}
	f, p, e := newForest(t, o), &Pass{}, &Estimate{}
	nan := math.NaN()
	if err := f.Impute([]float64{1, nan, 2}, e, p); err != nil || !math.IsNaN(e.Value[1]) || e.Value[2] != 2 {
		t.Errorf("a new forest says %v, %v", e.Value, err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		x := rng.Float64() * 100
		process(t, f, p, [][]float64{{x, 2*x + rng.NormFloat64(), 50}})
	}
	before := save(t, f)
	for x := 5.0; x < 100; x += 10 {
		if err := f.Impute([]float64{x, nan, 50}, e, p); err != nil {
			t.Fatal(err)
		}
		if math.Abs(e.Value[1]-2*x) > 15 || !(e.Low[1] <= e.Value[1] && e.Value[1] <= e.High[1]) || e.Value[0] != x || e.Low[2] != 50 {
			t.Errorf("beside %v: %v from %v to %v, want about %v", x, e.Value, e.Low, e.High, 2*x)
		}
	}
	if err := f.Impute([]float64{nan, nan, nan}, e, p); err != nil || e.Value[2] != 50 || math.Abs(e.Value[1]-2*e.Value[0]) > 60 {
		t.Errorf("of nothing: %v, %v", e.Value, err)
	}
	if err := f.Impute([]float64{1, math.Inf(1), 2}, e, p); !errors.Is(err, ErrRow) {
		t.Errorf("an infinite value: %v", err)
	}
	if err := f.Impute([]float64{1}, e, p); !errors.Is(err, ErrRow) {
		t.Errorf("a short row: %v", err)
	}
	if string(before) != string(save(t, f)) {
		t.Error("asking changed the forest")
	}
}

func TestForecast(t *testing.T) {
	const period = 24
	wave := func(i int) []float64 {
		at := 2 * math.Pi * float64(i) / period
		return []float64{100 * math.Sin(at), 10 * math.Cos(at)}
	}
	f, p, e := newForest(t, Options{Dims: 2, Shingle: 8}), &Pass{}, &Estimate{}
	const n = 40 * period
	for i := range n {
		process(t, f, p, [][]float64{wave(i)})
	}
	if err := f.Forecast(period, e, p); err != nil {
		t.Fatal(err)
	}
	if len(e.Value) != 2*period || len(e.Low) != 2*period || len(e.High) != 2*period {
		t.Fatalf("%d values, want %d", len(e.Value), 2*period)
	}
	for i := range period {
		for d, want := range wave(n + i) {
			if got := e.Value[2*i+d]; math.Abs(got-want) > []float64{30, 3}[d] {
				t.Errorf("%d rows ahead value %d is %v, want about %v", i+1, d, got, want)
			}
		}
	}
	if err := f.Forecast(0, e, p); err == nil {
		t.Error("a forecast of nothing")
	}
	if err := newForest(t, Options{Dims: 2}).Forecast(1, e, p); err == nil {
		t.Error("a forecast without a past")
	}
}

func TestNeighbors(t *testing.T) {
	f, p := newForest(t, Options{Dims: 2, OutputAfter: 1}), &Pass{}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		process(t, f, p, [][]float64{{rng.NormFloat64(), rng.NormFloat64()}})
	}
	process(t, f, p, [][]float64{{30, 40}, {30, 40}})
	near, err := f.AppendNeighbors(nil, []float64{31, 40}, 3, p)
	if err != nil || len(near) == 0 || len(near) > 3 {
		t.Fatalf("%d neighbours, %v", len(near), err)
	}
	if n := near[0]; n.Point[0] != 30 || n.Point[1] != 40 || n.Distance != 1 || n.Trees < 45 {
		t.Errorf("nearest is %+v", n)
	}
	for i := 1; i < len(near); i++ {
		if near[i].Distance < near[i-1].Distance {
			t.Error("the nearest is not first")
		}
	}
	if near, err = newForest(t, Options{Dims: 2}).AppendNeighbors(nil, []float64{1, 2}, 3, p); err != nil || len(near) != 0 {
		t.Errorf("neighbours in a new forest: %v, %v", near, err)
	}
}

func TestDensity(t *testing.T) {
	f, p := newForest(t, Options{Dims: 2}), &Pass{}
	rng := rand.New(rand.NewPCG(1, 2))
	rows := make([][]float64, 1000)
	for i := range rows {
		rows[i] = []float64{rng.NormFloat64(), rng.NormFloat64()}
	}
	process(t, f, p, rows)
	at := func(row ...float64) (d Density) {
		if err := f.Density(row, &d, p); err != nil {
			t.Fatal(err)
		}
		return d
	}
	middle, edge, far := at(0.05, 0.02), at(2.5, 0), at(20, 0)
	if !(middle.Value > edge.Value && edge.Value > far.Value && far.Value > 0) {
		t.Errorf("densities from the middle out are %v, %v, %v", middle.Value, edge.Value, far.Value)
	}
	if far.MassHigh[0] < 0.8 || far.MassLow[0] != 0 || far.DistanceHigh[0]/far.MassHigh[0] < 15 {
		t.Errorf("far above in the first dimension: %+v", far)
	}
	if held := at(rows[len(rows)-1]...); !(held.Value > 0 && held.Measure > 0) {
		t.Errorf("of a point that is held: %+v", held)
	}
}
