package storetest_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/db/dbtest"
	"github.com/fettleops/fettle/internal/db/sqlite"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(peer.Waiting(m)) }

func TestSQLite(t *testing.T) {
	storetest.Run(t, func(t *testing.T) *db.DB {
		d, err := sqlite.Open(t.Context(), filepath.Join(dbtest.Dir(t), "f.db"))
		return opened(t, d, err)
	})
}

// TestPostgres commits without waiting for the disk: the rules are about what a
// commit means, not about power cuts. A rule gets a database that another one is
// done with, emptied: making and migrating one takes longer than most rules.
func TestPostgres(t *testing.T) {
	var mu sync.Mutex
	var idle []string
	storetest.Run(t, func(rule *testing.T) *db.DB {
		mu.Lock()
		url := ""
		if n := len(idle); n > 0 {
			url, idle = idle[n-1], idle[:n-1]
		}
		mu.Unlock()
		if url == "" {
			url = peer.Postgres(t) + "&synchronous_commit=off"
		}
		d, err := db.OpenPostgres(rule.Context(), url)
		opened(rule, d, err)
		rule.Cleanup(func() {
			if rule.Failed() {
				return
			}
			if err := empty(d); err != nil {
				rule.Errorf("empty the database: %v", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			idle = append(idle, url)
		})
		return d
	})
}

// empty leaves a schema as its migrations made it.
func empty(d *db.DB) error {
	return d.Write(context.Background(), func(tx db.Tx) error {
		_, err := tx.Exec(context.Background(), `DO $$ DECLARE all_tables text; BEGIN
			SELECT string_agg(quote_ident(tablename), ',') INTO all_tables FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'goose_db_version';
			EXECUTE 'TRUNCATE ' || all_tables || ' RESTART IDENTITY';
		END $$`)
		return err
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
