package verify_test

import (
	"encoding/csv"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/verify"
)

// recorded reads the recorded series of servers and services. The folder is
// FETTLE_DATA, or shared/data beside the repository.
func recorded(t *testing.T) []ops.Series {
	t.Helper()
	root := os.Getenv("FETTLE_DATA")
	if root == "" {
		root = filepath.Join("..", "..", "shared", "data")
	}
	var out []ops.Series
	err := filepath.WalkDir(filepath.Join(root, "nab", "data", "realAWSCloudwatch"), func(path string, _ fs.DirEntry, err error) error {
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
		s := ops.Series{SeriesID: ops.SeriesID{Metric: filepath.Base(path)}}
		for _, row := range rows[1:] {
			at, err := time.Parse(time.DateTime, row[0])
			if err != nil {
				return err
			}
			v, err := strconv.ParseFloat(row[1], 64)
			if err != nil {
				return err
			}
			s.Points = append(s.Points, ops.Point{At: at, Value: v})
		}
		out = append(out, s)
		return nil
	})
	if err != nil {
		t.Skipf("no recorded series: %v (set FETTLE_DATA to the folder that holds nab)", err)
	}
	return out
}

// TestCalibration makes changes that do nothing, and changes that move a metric
// by one robust standard deviation, at random times of recorded series of five
// minutes, five hours observed after each, through the resampling. The same is
// done with four metrics of unlike machines judged together, of which the plant
// moves one. The quick run makes a tenth.
func TestCalibration(t *testing.T) {
	all := recorded(t)
	wanted := 60
	if peer.Proving() {
		wanted = 600
	}
	const observed = 5 * time.Hour
	r := rand.New(rand.NewPCG(3, 5))
	for _, metrics := range []int{1, 4} {
		made, worse, seen := 0, 0, 0
		for made < wanted {
			var in verify.Compared
			in.AppliedAt = t0
			in.StartedAt, in.Now = t0.Add(-time.Duration(r.IntN(600))*time.Second), t0.Add(observed)
			for _, i := range r.Perm(len(all))[:metrics] {
				s := all[i]
				at := s.Points[300+r.IntN(len(s.Points)-300-70)].At.Add(time.Duration(r.IntN(300)) * time.Second)
				m := verify.Measured{Worse: verify.WorseUp, Known: true, Series: ops.Series{SeriesID: s.SeriesID}}
				for _, p := range s.Points {
					if moved := p.At.Sub(at); moved < observed {
						m.Points = append(m.Points, ops.Point{At: t0.Add(moved), Value: p.Value})
					}
				}
				in.Series = append(in.Series, m)
			}
			c := verify.Compare(in)
			if c.Judged < metrics {
				continue // too short a past
			}
			made++
			if c.Word == ops.Worse {
				worse++
			}
			plant := in.Series[0]
			scale := verify.Compare(verify.Compared{StartedAt: in.StartedAt, AppliedAt: in.AppliedAt, Now: in.Now, Series: in.Series[:1]}).Scale
			in.Series[0].Points = nil
			for _, p := range plant.Points {
				if !p.At.Before(t0) {
					p.Value += scale
				}
				in.Series[0].Points = append(in.Series[0].Points, p)
			}
			if verify.Compare(in).Word == ops.Worse {
				seen++
			}
		}
		share := func(n int) float64 { return float64(n) / float64(made) }
		t.Logf("%d changes without effect, %d metrics: %.1f %% worse; one moved by a robust standard deviation: %.1f %% worse", made, metrics, 100*share(worse), 100*share(seen))
		// Three standard errors of the sample, since 2,000 changes are the kernel's test.
		slack := 3 * 0.218 / math.Sqrt(float64(made))
		if share(worse) > 0.05+slack {
			t.Errorf("%d metrics: %.3f of changes without effect are called worse, at most 0.05 may be", metrics, share(worse))
		}
		if metrics == 1 && share(seen) < 0.80-2*slack {
			t.Errorf("%.3f of planted moves are seen, at least 0.80 must be", share(seen))
		}
	}
}
