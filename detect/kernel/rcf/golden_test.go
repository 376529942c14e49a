package rcf

import (
	"encoding/binary"
	cmdline "flag"
	"fmt"
	"hash/fnv"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

var update = cmdline.Bool("update", false, "write the golden files")

// What a forest says must not change under those who have saved one: the
// golden sums were made by the forest that had a box for every node.
func TestGolden(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the sums are of amd64: logarithms may differ in the last bit elsewhere")
	}
	var out strings.Builder
	for _, o := range shapes {
		f, p := newForest(t, o), &Pass{Attribute: true}
		sum := fnv.New64a()
		add := func(xs ...float64) {
			for _, x := range xs {
				sum.Write(binary.LittleEndian.AppendUint64(nil, math.Float64bits(x)))
			}
		}
		rows := o.rows(3, 2500)
		var d Density
		var e Estimate
		for i, row := range rows {
			if err := f.Process(row, p); err != nil {
				t.Fatal(err)
			}
			add(p.Score)
			add(p.High...)
			add(p.Low...)
			if i%10 != 0 {
				continue
			}
			ask := rows[(i*7)%len(rows)]
			if err := f.Density(ask, &d, p); err != nil {
				t.Fatal(err)
			}
			add(d.Value, d.Measure)
			add(d.MassHigh...)
			add(d.DistanceLow...)
			missing := append([]float64{math.NaN()}, ask[1:]...)
			if err := f.Impute(missing, &e, p); err != nil {
				t.Fatal(err)
			}
			add(e.Value...)
			add(e.High...)
		}
		sum.Write(save(t, f))
		fmt.Fprintf(&out, "dims=%d shingle=%d trees=%d samples=%d scoring=%d %016x\n", o.Dims, o.Shingle, o.Trees, o.Samples, o.Scoring, sum.Sum64())
	}
	path := filepath.Join("testdata", "golden.txt")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(out.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != string(want) {
		t.Errorf("the forests say\n%swant\n%s", got, want)
	}
}
