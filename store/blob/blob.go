// Package blob keeps artefacts (plan files, reports, raw payloads) encrypted
// and content-addressed in the database.
//
// What is kept is sealed with AES-256-GCM under keys derived from the data
// key, and addressed by an HMAC-SHA256 under another: whoever has the database
// but not the key learns an artefact's size and whether two are equal, not
// what is in it. Losing the data key loses every artefact.
package blob

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// MaxSize bounds an artefact, in bytes.
const MaxSize = 16 << 20

// Keep is how long Put keeps an artefact after it was last put.
const Keep = 400 * 24 * time.Hour

// KeySize is the size of the data key, in bytes.
const KeySize = 32

// Blobs is the store of artefacts.
type Blobs struct {
	db    *db.DB
	clock clock.Clock
	vault *vault
	mac   []byte
}

// New returns the store under a data key of KeySize bytes.
func New(d *db.DB, now clock.Clock, key []byte) (*Blobs, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("blob: the data key has %d bytes; use %d random bytes: %w", len(key), KeySize, ops.ErrInvalid)
	}
	sealing, err := hkdf.Key(sha256.New, key, nil, "fettle blob seal", 32)
	if err != nil {
		return nil, fmt.Errorf("blob: derive the sealing key: %w", err)
	}
	mac, err := hkdf.Key(sha256.New, key, nil, "fettle blob address", 32)
	if err != nil {
		return nil, fmt.Errorf("blob: derive the address key: %w", err)
	}
	vault, err := newVault(sealing)
	if err != nil {
		return nil, err
	}
	return &Blobs{db: d, clock: now, vault: vault, mac: mac}, nil
}

// Digest returns the keyed address of data.
func (b *Blobs) Digest(data []byte) string {
	h := hmac.New(sha256.New, b.mac)
	h.Write(data)
	return hex.EncodeToString(h.Sum(nil))
}

// Seal encrypts data for a place of which label is the name: only Open with
// the same label gives it back. Equal data gives different boxes. It is safe
// for concurrent use.
func (b *Blobs) Seal(label string, data []byte) []byte { return b.vault.seal(label, data) }

// Open decrypts a box of Seal. A box that was changed, sealed under another
// key or moved from another place gives ops.ErrInternal.
func (b *Blobs) Open(label string, box []byte) ([]byte, error) { return b.vault.open(label, box) }

// Put keeps data for Keep and returns its digest. Putting it again extends the
// time.
func (b *Blobs) Put(ctx context.Context, tx db.Tx, data []byte) (string, error) {
	return b.PutFor(ctx, tx, data, Keep)
}

// PutFor is Put with another time to keep data for.
func (b *Blobs) PutFor(ctx context.Context, tx db.Tx, data []byte, keep time.Duration) (string, error) {
	if len(data) > MaxSize {
		return "", fmt.Errorf("blob: an artefact has %d bytes; at most %d are kept: %w", len(data), MaxSize, ops.ErrInvalid)
	}
	digest, until := b.Digest(data), b.clock().Add(keep).UnixMilli()
	n, err := tx.Exec(ctx, "UPDATE blob SET keep_until = CASE WHEN keep_until < $2 THEN $2 ELSE keep_until END WHERE digest = $1", digest, until)
	if err == nil && n == 0 {
		_, err = tx.Exec(ctx, "INSERT INTO blob (digest, size, box, keep_until) VALUES ($1, $2, $3, $4)", digest, int64(len(data)), b.Seal("blob/"+digest, data), until)
	}
	if err != nil {
		return "", fmt.Errorf("blob: put %s: %w", digest, err)
	}
	return digest, nil
}

// Get returns what was put under a digest, or ops.ErrNotFound when it never
// was or is kept no longer. The content is checked against the digest.
func (b *Blobs) Get(ctx context.Context, digest string) ([]byte, error) {
	var box []byte
	err := b.db.Read().QueryRow(ctx, "SELECT box FROM blob WHERE digest = $1", digest).Scan(&box)
	if errors.Is(err, db.ErrNoRows) {
		return nil, fmt.Errorf("blob: %s: %w", digest, ops.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("blob: read %s: %w", digest, err)
	}
	data, err := b.Open("blob/"+digest, box)
	if err != nil {
		return nil, err
	}
	if !hmac.Equal([]byte(b.Digest(data)), []byte(digest)) {
		return nil, fmt.Errorf("blob: what is kept as %s is something else: %w", digest, ops.ErrInternal)
	}
	return data, nil
}
