package rcf

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// The tests of this file prove that the shortcuts have the distributions of
// what they replace. Seeds are fixed, so a pass stays a pass; the tolerances
// would fail one right program in about a thousand.

// differ is the Kolmogorov-Smirnov distance of two samples over what it may be.
func differ(a, b []float64) float64 {
	slices.Sort(a)
	slices.Sort(b)
	most, j := 0.0, 0
	for i, x := range a {
		for j < len(b) && b[j] <= x {
			j++
		}
		if i+1 == len(a) || a[i+1] != x {
			most = math.Max(most, math.Abs(float64(i+1)/float64(len(a))-float64(j)/float64(len(b))))
		}
	}
	n, m := float64(len(a)), float64(len(b))
	return most / (1.95 * math.Sqrt((n+m)/(n*m)))
}

// Skipping ahead draws at once what drawing for every point would give: the
// steps to the next accepted point and its weight.
func TestSkipAhead(t *testing.T) {
	f := func(hazard, decay float64) {
		t.Helper()
		const n = 20000
		rng := rand.New(rand.NewPCG(5, math.Float64bits(hazard+decay)))
		var steps, lefts, naiveSteps, naiveLefts []float64
		for range n {
			s, left := skip(rng.ExpFloat64(), hazard, decay, math.Expm1(decay))
			steps, lefts = append(steps, float64(s)), append(lefts, left)
			for at := 1.0; ; at++ {
				if e := rng.ExpFloat64(); e < hazard*math.Exp(decay*at) {
					naiveSteps, naiveLefts = append(naiveSteps, at), append(naiveLefts, e)
					break
				}
			}
		}
		if d := differ(steps, naiveSteps); d > 1 {
			t.Errorf("hazard %v, decay %v: steps differ by %.2f of what they may", hazard, decay, d)
		}
		if d := differ(lefts, naiveLefts); d > 1 {
			t.Errorf("hazard %v, decay %v: weights differ by %.2f of what they may", hazard, decay, d)
		}
	}
	f(0.1, 0)
	f(3, 0)
	f(0.1, 1./2560)
	f(0.01, 0.01)
	f(0.001, 0.1)
	f(1e-6, 1)
	if s, left := skip(1, 0, 0.001, math.Expm1(0.001)); s < 100000 || !(left > 0) {
		t.Errorf("without a hazard the next is accepted in %d steps", s)
	}
	if s, _ := skip(1, 0, 0, 0); s != never {
		t.Errorf("without a hazard and decay the next is accepted in %d steps", s)
	}
}

// naiveAges keeps a time-decayed sample as its definition says and returns the
// ages of what is in it after n points.
func naiveAges(rng *rand.Rand, samples, n int, decay func(i int) float64) []float64 {
	type point struct{ weight, at float64 }
	var sample []point
	elapsed := 0.0
	for i := range n {
		elapsed += decay(i)
		sample = append(sample, point{math.Log(rng.ExpFloat64()) - elapsed, float64(i)})
		slices.SortFunc(sample, func(a, b point) int {
			if a.weight < b.weight {
				return -1
			}
			return 1
		})
		sample = sample[:min(len(sample), samples)]
	}
	var ages []float64
	for _, p := range sample {
		ages = append(ages, float64(n)-p.at)
	}
	return ages
}

func TestSampleIsTheNaiveOne(t *testing.T) {
	f := func(name string, first, second float64) {
		const trees, samples, n = 200, 16, 600
		decay := func(i int) float64 {
			if i < n/2 {
				return max(first, 0)
			}
			return max(second, 0)
		}
		rng := rand.New(rand.NewPCG(11, 12))
		var want, got []float64
		for range trees {
			want = append(want, naiveAges(rng, samples, n, decay)...)
		}
		forest, p := newForest(t, Options{Dims: 1, Trees: trees, Samples: samples, TimeDecay: first}), &Pass{}
		for i := range n {
			if i == n/2 {
				if err := forest.SetTimeDecay(second); err != nil {
					t.Fatal(err)
				}
			}
			process(t, forest, p, [][]float64{{float64(i)}})
		}
		for i := range trees * samples {
			got = append(got, n-float64(forest.points.at(forest.refs.get(i))[0]))
		}
		// What is in one sample is not independent: trees are, so the ages of a
		// tree's sample count as half of as many.
		if d := differ(got, want) / math.Sqrt2; d > 1 {
			t.Errorf("%s: ages differ by %.2f of what they may", name, d)
		}
	}
	f("decaying", 0.01, 0.01)
	f("even", NoDecay, NoDecay)
	f("rebased", 0.9, 0.9)
	f("faster from the half on", 0.002, 0.03)
	f("slower from the half on", 0.05, NoDecay)
}

// Inserting and evicting leave a tree distributed as one built anew: the root
// is cut in a dimension with the probability of its share of the sides, evenly
// over it.
func TestTreesAreAsBuiltAnew(t *testing.T) {
	const trees = 4000
	o := Options{Dims: 2, Trees: trees, Samples: 6, OutputAfter: 1}
	rows := [][]float64{{0, 0}, {10, 1}, {2, 9}, {3, 3}, {3, 3}, {40, 2}}
	f, p := newForest(t, o), &Pass{}
	process(t, f, p, rows)
	expect := func(what string, sides [2]float64) {
		t.Helper()
		count, cuts := [2]float64{}, [2][]float64{}
		for i := range trees {
			slot := f.arena[i*f.slots]
			dim := uint32(slot) & f.dimMask
			count[dim]++
			cuts[dim] = append(cuts[dim], float64(math.Float32frombits(uint32(slot>>32))))
		}
		want := sides[0] / (sides[0] + sides[1])
		if got := count[0] / trees; math.Abs(got-want) > 3.3*math.Sqrt(want*(1-want)/trees) {
			t.Errorf("%s: %.3f of the roots are cut in the first dimension, want %.3f", what, got, want)
		}
		for dim, side := range sides {
			even := make([]float64, 100000)
			for i := range even {
				even[i] = side * (float64(i) + 0.5) / float64(len(even))
			}
			if d := differ(cuts[dim], even); d > 1 {
				t.Errorf("%s: cuts of dimension %d differ from even ones by %.2f of what they may", what, dim, d)
			}
		}
	}
	expect("as inserted", [2]float64{40, 9})
	for i := range trees {
		id := f.refs.get(i * o.Samples)
		for at := 0; f.points.at(id)[0] != 40; at++ {
			id = f.refs.get(i*o.Samples + at)
		}
		f.evict(i, id, p.path, f.descend(i, f.points.at(id), p.path), p)
	}
	expect("after the widest left", [2]float64{10, 9})
}

// The collusive displacement is the mean over all ways to insert the point.
func TestCoDisplacementIsItsExpectation(t *testing.T) {
	o := Options{Dims: 2, Trees: 1, Samples: 32, OutputAfter: 1, Scoring: CoDisplacement}
	f, p := newForest(t, o), &Pass{}
	process(t, f, p, stream(4, 32, 2))
	for _, row := range [][]float64{{50, 50}, {120, 50}, {20, 90}} {
		if err := f.Score(row, p); err != nil {
			t.Fatal(err)
		}
		want, actual := p.Score, moments{}
		for seed := range 4000 {
			c := f.clone()
			c.trees[0].rng = mix(uint64(seed))
			p.fit(c)
			c.shingle(row, p)
			c.descendAll(p, 0, 1)
			c.walk(0, p)
			id := uint32(c.rows % uint64(c.points.ring))
			c.points.write(int(id), p.point[:2])
			c.insert(0, p, id)
			depth := c.descend(0, p.point, p.path)
			most := 0.0
			for _, at := range p.path[1 : depth+1] {
				most = math.Max(most, float64(c.massOf(c.arena[at^1]))/float64(c.massOf(c.arena[at])))
			}
			actual.add(most)
		}
		if se := math.Sqrt(actual.variance() / actual.n); math.Abs(actual.mean-want) > 3.3*se {
			t.Errorf("%v has %v, inserted %v with a standard error of %v", row, want, actual.mean, se)
		}
	}
}
