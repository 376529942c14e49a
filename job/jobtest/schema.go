package jobtest

import (
	"context"
	"log/slog"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/job"
	"github.com/fettleops/fettle/store"
)

// Migrate lays out everything a queue needs in an empty database: the store's
// schema and the queue's own. It is meant for dbtest.Laid.
func Migrate(ctx context.Context, d *db.DB) error {
	if err := store.Migrate(ctx, d); err != nil {
		return err
	}
	_, err := job.Open(ctx, d, store.New(d, time.Now), job.Options{Clock: time.Now, Logger: slog.New(slog.DiscardHandler)})
	return err
}
