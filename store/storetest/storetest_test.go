package storetest_test

import (
	"net/url"
	"path/filepath"
	"testing"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/db/dbtest"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/store/storetest"
)

func TestSQLite(t *testing.T) {
	storetest.Run(t, func(t *testing.T) *db.DB {
		d, err := db.OpenSQLite(t.Context(), filepath.Join(dbtest.Dir(t), "f.db"))
		return opened(t, d, err)
	})
}

// TestPostgres commits without waiting for the disk: the rules are about what a
// commit means, not about power cuts, and each of them migrates a database.
func TestPostgres(t *testing.T) {
	storetest.Run(t, func(t *testing.T) *db.DB {
		at, err := url.Parse(peer.Postgres(t))
		if err != nil {
			t.Fatal(err)
		}
		q := at.Query()
		q.Set("synchronous_commit", "off")
		at.RawQuery = q.Encode()
		d, err := db.OpenPostgres(t.Context(), at.String())
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
