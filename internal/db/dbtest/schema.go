package dbtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/db/sqlite"
)

// Schema is a schema that tests open many SQLite databases with. It is laid out
// once in a process, each database begins as a copy: laying it out is most of
// what a small test would do. It is safe for concurrent use.
type Schema struct {
	file func() ([]byte, error)
}

// Laid returns the schema that a room's migrations lay out, one after the other.
func Laid(lay ...func(context.Context, *db.DB) error) *Schema {
	return &Schema{sync.OnceValues(func() (file []byte, err error) {
		dir, err := os.MkdirTemp("", "fettle-schema-")
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		ctx, path := context.Background(), filepath.Join(dir, "fettle.db")
		d, err := sqlite.Open(ctx, path)
		if err != nil {
			return nil, err
		}
		for _, f := range lay {
			if err := f(ctx, d); err != nil {
				return nil, errors.Join(err, d.Close())
			}
		}
		if err := d.Close(); err != nil {
			return nil, err
		}
		if log, err := os.Stat(path + "-wal"); err == nil && log.Size() > 0 {
			return nil, fmt.Errorf("closing %s left %d bytes in its log", path, log.Size())
		}
		return os.ReadFile(path)
	})}
}

// Open opens an empty database with the schema, which is closed and removed when
// the test ends.
func (s *Schema) Open(t testing.TB) *db.DB {
	t.Helper()
	return s.OpenAt(t, filepath.Join(Dir(t), "fettle.db"))
}

// OpenAt opens the database at path, which begins with the schema if it is not
// there yet. It is closed when the test ends, unless that is done before.
func (s *Schema) OpenAt(t testing.TB, path string) *db.DB {
	t.Helper()
	s.Put(t, path)
	d, err := sqlite.Open(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// Put puts an empty database with the schema at path, in a directory of its
// own if need be, unless one is there.
func (s *Schema) Put(t testing.TB, path string) {
	t.Helper()
	if _, err := os.Stat(path); err == nil {
		return
	}
	file, err := s.file()
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err == nil {
		err = os.WriteFile(path, file, 0o600)
	}
	if err != nil {
		t.Fatalf("lay out a schema: %v", err)
	}
}
