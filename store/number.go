package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/fettleops/fettle/internal/db"
)

// NextNumber returns the next number people use for a kind of record.
func (s *Store) NextNumber(ctx context.Context, tx db.Tx, kind string) (int64, error) {
	var n int64
	err := tx.QueryRow(ctx, `INSERT INTO number (kind, last) VALUES ($1, 1)
		ON CONFLICT (kind) DO UPDATE SET last = number.last + 1 RETURNING last`, kind).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("store: next number of %s: %w", kind, err)
	}
	return n, nil
}

// LastNumber returns the newest number given to a kind of record, zero when
// there is none.
func (s *Store) LastNumber(ctx context.Context, kind string) (int64, error) {
	var n int64
	err := s.db.Read().QueryRow(ctx, "SELECT last FROM number WHERE kind = $1", kind).Scan(&n)
	if err != nil && !errors.Is(err, db.ErrNoRows) {
		return 0, fmt.Errorf("store: last number of %s: %w", kind, err)
	}
	return n, nil
}

// ParseNumber reads what people call a record, such as INC-42 or chg-7, and
// reports whether s has that form; an id has not.
func ParseNumber(s string) (prefix string, n int64, ok bool) {
	prefix, digits, cut := strings.Cut(s, "-")
	if !cut || prefix == "" || digits == "" || digits[0] == '0' || strings.Trim(digits, "0123456789") != "" {
		return "", 0, false
	}
	for _, r := range prefix {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') {
			return "", 0, false
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return "", 0, false
	}
	return strings.ToUpper(prefix), n, true
}
