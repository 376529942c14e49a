package rcf

import (
	"bytes"
	"math"
	"slices"
	"testing"
)

// Which nodes keep a box is no matter of results: a forest with a box for every
// node is the reference, another one changes the number in its life.
func TestAnyBoxMassIsTheSame(t *testing.T) {
	eachShape(t, 700, func(t *testing.T, o Options, rows [][]float64) {
		o.BoxMass = 2
		all, p := newForest(t, o), &Pass{Attribute: true}
		var others []*Forest
		for _, mass := range []int{3, 5, 8, 16} {
			o.BoxMass = mass
			others = append(others, newForest(t, o))
		}
		q := &Pass{Attribute: true}
		for i := range rows {
			process(t, all, p, rows[i:i+1])
			for j, f := range others {
				switch {
				case i%400 == 100*j:
					o.BoxMass = 2 + (i/100+3*j)%15
					loaded, err := Load(o, save(t, f))
					if err != nil {
						t.Fatal(err)
					}
					f, others[j] = loaded, loaded
				case i%300 == 60*j+7:
					f.Rest(q)
				}
				process(t, f, q, rows[i:i+1])
				if p.Score != q.Score || !slices.Equal(p.High, q.High) || !slices.Equal(p.Low, q.Low) {
					t.Fatalf("row %d scores %v with all boxes and %v with those of %d points", i, p.Score, q.Score, f.opts.BoxMass)
				}
			}
		}
		want := save(t, all)
		for _, f := range others {
			check(t, f)
			if !bytes.Equal(save(t, f), want) {
				t.Errorf("the forest with boxes of %d points differs", f.opts.BoxMass)
			}
		}
	})
}

// Numbers of boxes beyond 16 bits are kept in two halves.
func TestManyBoxes(t *testing.T) {
	o := Options{Dims: 1, Trees: 4096, Samples: 24, BoxMass: 3, TimeDecay: 0.5}
	f, p := newForest(t, o), &Pass{}
	o.BoxMass = 16
	few, q := newForest(t, o), &Pass{}
	for i, row := range o.rows(1, 26) {
		if a, b := process(t, f, p, [][]float64{row}), process(t, few, q, [][]float64{row}); a[0] != b[0] {
			t.Fatalf("row %d scores %v with all boxes and %v with few", i, a[0], b[0])
		}
	}
	if n := len(f.boxes.data) / f.boxes.size; n < wideFrom || f.boxes.wide == 0 {
		t.Errorf("%d boxes: want numbers beyond 16 bits", n)
	}
	check(t, f)
	check(t, few)
}

// A burst of points in one place makes chains of heavy nodes and takes them
// down again: boxes come and go, and none is lost.
func TestBoxesComeAndGo(t *testing.T) {
	for _, mass := range []int{2, 3, 5, 16} {
		f, p := newForest(t, Options{Dims: 1, Trees: 6, Samples: 40, TimeDecay: 0.02, BoxMass: mass}), &Pass{}
		x := 1.0
		for i := range 900 {
			switch i / 100 % 3 {
			case 0:
				x *= 1.1 // a chain: each point is cut off from all before
			case 1:
				x = 7 // a heavy leaf
			default:
				x = math.Sin(float64(i))
			}
			process(t, f, p, [][]float64{{x}})
			if i%9 == 0 {
				check(t, f)
			}
		}
	}
}
