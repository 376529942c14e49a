package blob

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/fettleops/fettle/ops"
)

// A box is a format byte, the salt of its key, the counter that is its nonce,
// and what AES-256-GCM gives. Keys with a counter instead of one key with
// random nonces: the signal log seals thousands a second, and the 2^32 nonces
// that are safe to draw at random would be gone within days.
const (
	boxFormat  = 1
	saltSize   = 16
	headerSize = 1 + saltSize + 8
)

// sealsPerKey is how many boxes share a key; then a new one is derived. With
// boxes of a kilobyte it stays a hundredfold below what GCM allows.
const sealsPerKey = 1 << 24

// maxOpeners bounds the derived keys kept for opening.
const maxOpeners = 256

// vault derives the keys of boxes from one.
type vault struct {
	key     []byte
	current atomic.Pointer[sealer]
	mu      sync.Mutex
	openers map[[saltSize]byte]cipher.AEAD
}

type sealer struct {
	salt  [saltSize]byte
	aead  cipher.AEAD
	count atomic.Uint64
}

func newVault(key []byte) (*vault, error) {
	v := &vault{key: key, openers: map[[saltSize]byte]cipher.AEAD{}}
	return v, v.renew()
}

// renew starts a new key to seal with.
func (v *vault) renew() error {
	s := &sealer{}
	_, _ = rand.Read(s.salt[:]) // never fails: it crashes the program instead
	var err error
	if s.aead, err = v.derive(s.salt); err != nil {
		return err
	}
	v.current.Store(s)
	return nil
}

func (v *vault) derive(salt [saltSize]byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, v.key, salt[:], "fettle box", 32)
	if err != nil {
		return nil, fmt.Errorf("blob: derive a key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("blob: %w", err)
	}
	return cipher.NewGCM(block)
}

func nonce(count []byte) []byte { return append(make([]byte, 4, 12), count...) }

func (v *vault) seal(label string, data []byte) []byte {
	s := v.current.Load()
	n := s.count.Add(1)
	if n == sealsPerKey {
		if err := v.renew(); err != nil { // it worked with a key of the same size
			panic(err)
		}
	}
	box := make([]byte, 0, headerSize+len(data)+s.aead.Overhead())
	box = append(append(box, boxFormat), s.salt[:]...)
	box = binary.BigEndian.AppendUint64(box, n)
	return s.aead.Seal(box, nonce(box[1+saltSize:headerSize]), data, []byte(label))
}

func (v *vault) open(label string, box []byte) ([]byte, error) {
	if len(box) < headerSize || box[0] != boxFormat {
		return nil, fmt.Errorf("blob: the sealed copy of %s is cut short or of another format: %w", label, ops.ErrInternal)
	}
	aead, err := v.opener([saltSize]byte(box[1:]))
	if err != nil {
		return nil, err
	}
	data, err := aead.Open(nil, nonce(box[1+saltSize:headerSize]), box[headerSize:], []byte(label))
	if err != nil {
		return nil, fmt.Errorf("blob: the sealed copy of %s was changed or belongs to another data key: %w", label, ops.ErrInternal)
	}
	return data, nil
}

func (v *vault) opener(salt [saltSize]byte) (cipher.AEAD, error) {
	if s := v.current.Load(); s.salt == salt {
		return s.aead, nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if a, ok := v.openers[salt]; ok {
		return a, nil
	}
	a, err := v.derive(salt)
	if err != nil {
		return nil, err
	}
	if len(v.openers) >= maxOpeners {
		clear(v.openers)
	}
	v.openers[salt] = a
	return a, nil
}
