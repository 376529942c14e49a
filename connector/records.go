package connector

import (
	"context"
	"errors"
	"fmt"

	"github.com/fettleops/fettle/internal/record"
	"github.com/fettleops/fettle/ops"
)

// classed gives the errors of any table the classes a driver looks for.
type classed struct{ inner record.Table }

func (c classed) Get(ctx context.Context, key string) (record.Record, error) {
	r, err := c.inner.Get(ctx, key)
	return r, withClass(err)
}

func (c classed) List(ctx context.Context, prefix, after string, limit int) ([]record.Record, error) {
	all, err := c.inner.List(ctx, prefix, after, limit)
	return all, withClass(err)
}

func (c classed) Write(ctx context.Context, edits ...record.Edit) error {
	return withClass(c.inner.Write(ctx, edits...))
}

func (c classed) Transact(ctx context.Context, f func(context.Context, record.Reader) ([]record.Edit, error)) error {
	return withClass(c.inner.Transact(ctx, func(ctx context.Context, now record.Reader) ([]record.Edit, error) {
		return f(ctx, classedReader{now})
	}))
}

type classedReader struct{ inner record.Reader }

func (c classedReader) Get(ctx context.Context, key string) (record.Record, error) {
	r, err := c.inner.Get(ctx, key)
	return r, withClass(err)
}

func withClass(err error) error {
	for _, x := range []struct{ is, class error }{
		{record.ErrMissing, ops.ErrNotFound}, {record.ErrMoved, ops.ErrConflict}, {record.ErrUnfit, ops.ErrInvalid},
	} {
		if errors.Is(err, x.is) && !errors.Is(err, x.class) {
			return fmt.Errorf("%w: %w", err, x.class)
		}
	}
	return err
}
