package shift_test

import (
	"encoding/csv"
	"errors"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/detect/kernel/shift"
	"github.com/fettleops/fettle/internal/peer"
)

// trace is a recorded series; the labels of its anomalies are not looked at.
type trace struct {
	points []float64
	day    int
}

// traces reads the recorded series of servers and services. The folder is
// FETTLE_DATA, or shared/data beside the repository.
func traces(t *testing.T) []trace {
	t.Helper()
	root := os.Getenv("FETTLE_DATA")
	if root == "" {
		root = filepath.Join("..", "..", "..", "..", "shared", "data")
	}
	var out []trace
	for _, dir := range []string{"nab/data/realAWSCloudwatch", "nab/data/realAdExchange", "cloud-monitoring"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".csv") {
				return err
			}
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			defer f.Close() //nolint:errcheck // read only
			rows, err := csv.NewReader(f).ReadAll()
			if err != nil {
				return err
			}
			out = append(out, read(t, path, rows[1:]))
			return nil
		})
		if err != nil {
			t.Skipf("no recorded series: %v (set FETTLE_DATA to the folder that holds nab and cloud-monitoring)", err)
		}
	}
	return out
}

func read(t *testing.T, path string, rows [][]string) trace {
	t.Helper()
	at := func(i int) time.Time {
		rows[i][0] = strings.TrimSuffix(rows[i][0], "Z")
		for _, layout := range []string{time.DateTime, "2006-01-02T15:04:05", time.RFC3339, "1/2/2006 15:04", "2006-01-02 15:04:05-07:00"} {
			if when, err := time.Parse(layout, rows[i][0]); err == nil {
				return when
			}
		}
		t.Fatalf("%s: no time in %q", path, rows[i])
		return time.Time{}
	}
	tr := trace{day: int(24 * time.Hour / at(1).Sub(at(0)))}
	for _, row := range rows {
		v, err := strconv.ParseFloat(row[1], 64)
		if err != nil {
			v = math.NaN() // a gap
		}
		tr.points = append(tr.points, v)
	}
	return tr
}

// TestCalibration makes changes that do nothing, and changes that move a series
// by one robust standard deviation, at random times of recorded series: a week
// of history at most, 60 points observed after. The quick run makes a tenth.
func TestCalibration(t *testing.T) {
	all := traces(t)
	wanted, seed := 200, uint64(1)
	if peer.Proving() {
		wanted = 2000
	}
	const observed = 60
	r := rand.New(rand.NewPCG(seed, 7))
	var made, short, worse, better, seen, rare, rarer int
	for made < wanted {
		tr := all[r.IntN(len(all))]
		at := 300 + r.IntN(max(1, len(tr.points)-300-observed))
		if at+observed > len(tr.points) {
			continue
		}
		before, after := tr.points[max(0, at-max(2*tr.day, 2016)):at], tr.points[at:at+observed]
		q, err := shift.Compare(before, after, shift.Options{Day: tr.day})
		if errors.Is(err, shift.ErrShort) {
			short++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		made++
		if q.Move == shift.Up {
			worse++
		}
		if q.Move == shift.Down {
			better++
		}
		if min(q.Up, q.Down) <= 0.005 {
			rare++
		}
		if min(q.Up, q.Down) <= 0.001 {
			rarer++
		}
		planted, err := shift.Compare(before, add(after, q.Scale), shift.Options{Day: tr.day})
		if err != nil {
			t.Fatal(err)
		}
		if planted.Move == shift.Up {
			seen++
		}
	}
	share := func(n int) float64 { return float64(n) / float64(made) }
	t.Logf("%d changes without effect: %.1f %% called worse, %.1f %% better; moved by one robust standard deviation: %.1f %% called worse (%d more had too short a past)",
		made, 100*share(worse), 100*share(better), 100*share(seen), short)
	t.Logf("p-values: %.2f %% are at most 0.005 one way or the other (wanted: 1 %%), %.2f %% at most 0.001 (wanted: 0.2 %%)", 100*share(rare), 100*share(rarer))
	// The quick run allows for its smaller sample: two standard errors of 200.
	slack := 0.0
	if wanted < 2000 {
		slack = 0.031
	}
	if share(worse) > 0.05+slack {
		t.Errorf("%.3f of changes without effect are called worse, at most 0.05 may be", share(worse))
	}
	if share(rare) > 0.015+slack {
		t.Errorf("%.4f of changes without effect have a p-value of at most 0.005 one way or the other, at most 0.015 may", share(rare))
	}
	if share(seen) < 0.80-slack {
		t.Errorf("%.3f of planted moves are seen, at least 0.80 must be", share(seen))
	}
}
