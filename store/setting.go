package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/fettleops/fettle/internal/db"
)

// Setting returns a setting made at run time, and whether it was ever made.
func (s *Store) Setting(ctx context.Context, name string) (string, bool, error) {
	return setting(ctx, s.db.Read(), name)
}

func setting(ctx context.Context, r db.Reader, name string) (string, bool, error) {
	var v string
	err := r.QueryRow(ctx, "SELECT value FROM setting WHERE name = $1", name).Scan(&v)
	if errors.Is(err, db.ErrNoRows) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("store: read setting %s: %w", name, err)
	}
	return v, true, nil
}

// SetSetting makes or changes a setting.
func (s *Store) SetSetting(ctx context.Context, tx db.Tx, name, value string) error {
	_, err := tx.Exec(ctx, "INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, value)
	if err != nil {
		return fmt.Errorf("store: write setting %s: %w", name, err)
	}
	return nil
}

// installationSetting holds the id made for this database.
const installationSetting = "installation"

// Installation returns the id of this installation, making it the first time.
// It never changes, and replicas share it: ids in outside platforms derive
// from it.
func (s *Store) Installation(ctx context.Context) (string, error) {
	id, made, err := s.Setting(ctx, installationSetting)
	if err != nil || made {
		return id, err
	}
	err = s.db.Write(ctx, func(tx db.Tx) error {
		var made bool
		if id, made, err = setting(ctx, tx, installationSetting); err != nil || made {
			return err
		}
		id = s.newID()
		return s.SetSetting(ctx, tx, installationSetting, id)
	})
	return id, err
}
