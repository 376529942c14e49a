package blob

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/fettleops/fettle/ops"
)

// keyFile is the name of the data key in a data directory.
const keyFile = "data.key"

// LoadOrCreateKey returns the data key of a data directory, making the file
// data.key (hexadecimal, mode 0600) the first time. A file that others may
// read, or that holds no key, is refused. Of several processes that start at
// once all get the same key.
func LoadOrCreateKey(dir string) ([]byte, error) {
	path := filepath.Join(dir, keyFile)
	key, err := loadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := createKey(dir, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("blob: make the data key: %w", err)
	}
	return loadKey(path)
}

func loadKey(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("blob: read the data key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("blob: the data key %s may be read by others (mode %04o); chmod 600 it: %w", path, info.Mode().Perm(), ops.ErrInvalid)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("blob: read the data key: %w", err)
	}
	return ParseKey(strings.TrimSpace(string(b)))
}

// ParseKey reads a data key, 32 bytes in hexadecimal or base64. Errors never
// repeat it.
func ParseKey(s string) ([]byte, error) {
	for _, decode := range []func(string) ([]byte, error){hex.DecodeString, base64.StdEncoding.DecodeString} {
		if key, err := decode(s); err == nil && len(key) == KeySize {
			return key, nil
		}
	}
	return nil, fmt.Errorf("blob: the data key is not %d bytes in hexadecimal or base64; make one with `openssl rand -hex %d`: %w", KeySize, KeySize, ops.ErrInvalid)
}

// createKey writes the whole key under another name and links it into place,
// so that a crash leaves no half key and a second process cannot replace it.
func createKey(dir, path string) (err error) {
	key := make([]byte, KeySize)
	_, _ = rand.Read(key)                      // never fails: it crashes the program instead
	f, err := os.CreateTemp(dir, keyFile+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	_, werr := f.WriteString(hex.EncodeToString(key) + "\n")
	if err := errors.Join(werr, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes a new name in a directory durable: a key lost in a power cut
// would take everything sealed with it along.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // directories cannot be flushed there
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
