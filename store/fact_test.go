package store_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/db/dbtest"
	"github.com/fettleops/fettle/internal/db/sqlite"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/store"
)

func TestTellChainsFactsPerSubject(t *testing.T) {
	ctx := context.Background()
	d, err := sqlite.Open(ctx, filepath.Join(dbtest.Dir(t), "f.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	if err := store.Migrate(ctx, d); err != nil {
		t.Fatal(err)
	}
	s := store.New(d, time.Now)
	tell := func(subject string) {
		t.Helper()
		err := d.Write(ctx, func(tx db.Tx) error {
			_, err := s.Tell(ctx, tx, ops.NewFact(subject, time.Now(), ops.SystemPrincipal, "", ops.ExecutionSwitchBody{Reason: "test"}))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	tell("a")
	tell("b")
	tell("a")
	facts, err := s.FactsAbout(ctx, "a")
	if err != nil || len(facts) != 2 {
		t.Fatalf("facts about a: %v, %v", facts, err)
	}
	if facts[0].Prev != "" || facts[1].Prev != facts[0].Hash || facts[1].Hash != facts[1].ComputeHash() {
		t.Errorf("chain of a does not hold: %+v", facts)
	}
}
