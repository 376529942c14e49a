package series_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/db/dbtest"
	"github.com/fettleops/fettle/internal/db/sqlite"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/series"
	"github.com/fettleops/fettle/series/seriestest"
)

func opens(t testing.TB, maxBytes int64, open func() (*db.DB, error)) (series.Log, func() series.Log) {
	var d *db.DB
	again := func() series.Log {
		if d != nil {
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
		}
		var err error
		if d, err = open(); err != nil {
			t.Fatal(err)
		}
		l, err := series.OpenLog(t.Context(), d, maxBytes)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := again()
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return l, again
}

func onSQLite(t testing.TB, maxBytes int64) (series.Log, func() series.Log) {
	path := filepath.Join(dbtest.Dir(t), "samples.db")
	return opens(t, maxBytes, func() (*db.DB, error) { return sqlite.Open(t.Context(), path) })
}

func TestLogOnSQLite(t *testing.T) {
	seriestest.Run(t, func(t *testing.T) (series.Log, func() series.Log) { return onSQLite(t, seriestest.MaxBytes) })
}

func TestLogOnPostgres(t *testing.T) {
	peer.Postgres(t) // skips the whole suite at once
	seriestest.Run(t, func(t *testing.T) (series.Log, func() series.Log) {
		url := peer.Postgres(t)
		return opens(t, seriestest.MaxBytes, func() (*db.DB, error) { return db.OpenPostgres(t.Context(), url) })
	})
}

// BenchmarkAppendLog appends batches of 500 samples as a remote write of
// Prometheus packs them, eight senders at a time.
func BenchmarkAppendLog(b *testing.B) {
	log, _ := onSQLite(b, 0)
	body := []byte(strings.Repeat("0123456789abcdef", 11_000/16))
	b.SetParallelism(4)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := log.Append(b.Context(), series.Record{Kind: series.Samples, Body: body}); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(500*float64(b.N)/b.Elapsed().Seconds(), "samples/s")
}
