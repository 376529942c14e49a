package storetest_test

import (
	"path/filepath"
	"testing"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/store/storetest"
)

func TestSQLite(t *testing.T) {
	storetest.Run(t, func(t *testing.T) *db.DB {
		d, err := db.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "f.db"))
		return opened(t, d, err)
	})
}

func TestPostgres(t *testing.T) {
	storetest.Run(t, func(t *testing.T) *db.DB {
		d, err := db.OpenPostgres(t.Context(), peer.Postgres(t))
		return opened(t, d, err)
	})
}

func opened(t *testing.T, d *db.DB, err error) *db.DB {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}
