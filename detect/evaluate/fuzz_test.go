package evaluate_test

import (
	"testing"
	"testing/fstest"

	"github.com/fettleops/fettle/detect/evaluate"
)

// FuzzReadPoints holds what every reader of a labelled file must keep: columns
// of one length, and windows that are exactly the labelled rows.
func FuzzReadPoints(f *testing.F) {
	f.Add([]byte("TimeStamp,Value,Label\n2018-07-03 14:00:00,1,0\n2018-07-03 15:00:00,,1\n"))
	f.Add([]byte("\"TimeStamp\",\"Value\",\"Label\"\n\"2018-04-25T00:00:00Z\",\"6034.7\",\"1\"\n1524614520,2,0\n"))
	f.Add([]byte("\ufeffLabel,Value,TimeStamp\n1.0,NaN,1524614520000\n"))
	f.Add([]byte("TimeStamp,Value,Label\n1,2\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := evaluate.ReadPoints(fstest.MapFS{"a/b.csv": {Data: data}})
		if err != nil {
			return
		}
		s := set.Series[0]
		if n := len(s.Values); n == 0 || len(s.At) != n || len(s.Labels) != n {
			t.Fatalf("%d times, %d values, %d labels", len(s.At), len(s.Values), len(s.Labels))
		}
		in := make([]bool, len(s.Values))
		for _, w := range s.Windows {
			for i := w.First; i <= w.Last; i++ {
				if in[i] {
					t.Fatalf("row %d lies in two windows", i)
				}
				in[i] = true
			}
		}
		for i := range in {
			if in[i] != s.Labels[i] {
				t.Fatalf("row %d is labelled %v and lies in a window: %v", i, s.Labels[i], in[i])
			}
		}
		evaluate.NewJudge(set, 1, true).Measure([][]float64{make([]float64, len(in))})
	})
}

// FuzzReadNAB does the same for windows and profiles.
func FuzzReadNAB(f *testing.F) {
	const profiles = `{"standard":{"CostMatrix":{"tpWeight":1,"fnWeight":1,"fpWeight":0.11}}}`
	f.Add(`{"x/a.csv":[["2018-04-25 00:00:00.000000","2018-04-25 00:05:00.000000"]]}`, profiles)
	f.Add(`{"x/a.csv":[["2018-04-24 00:00:00","2018-04-25 00:01:00"],["2018-04-25 00:01:00","2018-04-26"]]}`, profiles)
	f.Add(`{"x/a.csv":[]}`, `{"other":{"CostMatrix":{"tpWeight":2}}}`)
	f.Fuzz(func(t *testing.T, windows, profiles string) {
		set, err := evaluate.ReadNAB(fstest.MapFS{
			"data/x/a.csv":                 {Data: []byte("timestamp,value\n2018-04-25 00:00:00,1\n2018-04-25 00:05:00,2\n2018-04-25 00:05:00,3\n2018-04-25 00:10:00,4\n")},
			"labels/combined_windows.json": {Data: []byte(windows)}, "profiles.json": {Data: []byte(profiles)},
		})
		if err != nil {
			return
		}
		last := -1
		for _, w := range set.Series[0].Windows {
			if w.First <= last || w.Last < w.First || w.Last > 3 {
				t.Fatalf("windows %v", set.Series[0].Windows)
			}
			last = w.Last
		}
		evaluate.NewJudge(set, 1, false).Measure([][]float64{{0.1, 0.2, 0.3, 0.4}})
	})
}
