package baseline

import (
	"encoding/csv"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
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

func scoreSeries(t *testing.T, p Processor, l labelled) []float64 {
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
