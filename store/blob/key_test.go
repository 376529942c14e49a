package blob_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/store/blob"
)

func TestDataKeyIsMadeOnce(t *testing.T) {
	dir := t.TempDir()
	keys := make([][]byte, 16)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			key, err := blob.LoadOrCreateKey(dir)
			if err != nil {
				t.Error(err)
			}
			keys[i] = key
		})
	}
	wg.Wait()
	for _, key := range keys {
		if len(key) != blob.KeySize || !bytes.Equal(key, keys[0]) {
			t.Fatalf("keys differ: %d and %d bytes", len(key), len(keys[0]))
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 || files[0].Name() != "data.key" {
		t.Fatalf("the directory holds %v, %v", files, err)
	}
	if info, err := files[0].Info(); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestDataKeyThatCannotBeTrustedIsRefused(t *testing.T) {
	f := func(content string, mode os.FileMode, want string) {
		t.Helper()
		dir := t.TempDir()
		path := filepath.Join(dir, "data.key")
		if err := errors.Join(os.WriteFile(path, []byte(content), mode), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		_, err := blob.LoadOrCreateKey(dir)
		if !errors.Is(err, ops.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("key file %q, mode %04o: %v", content, mode, err)
		}
		if content != "" && strings.Contains(err.Error(), content) {
			t.Errorf("the error repeats the key: %v", err)
		}
	}
	good := strings.Repeat("0f", blob.KeySize)
	f(good, 0o644, "chmod 600")
	f(good[2:], 0o600, "32 bytes in hexadecimal or base64")
	f("", 0o600, "32 bytes in hexadecimal or base64")
	f(strings.Repeat("zz", blob.KeySize), 0o600, "32 bytes in hexadecimal or base64")
	if _, err := blob.New(nil, nil, []byte("short")); !errors.Is(err, ops.ErrInvalid) {
		t.Errorf("a short key: %v", err)
	}
}

func TestParseKey(t *testing.T) {
	want := bytes.Repeat([]byte{0xfb}, blob.KeySize)
	for _, s := range []string{strings.Repeat("fb", 32), strings.Repeat("FB", 32), "+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s="} {
		if got, err := blob.ParseKey(s); !bytes.Equal(got, want) || err != nil {
			t.Errorf("ParseKey gave %x, %v", got, err)
		}
	}
}

func TestSealedBoxOpensUnderItsLabelOnly(t *testing.T) {
	b, err := blob.New(nil, nil, make([]byte, blob.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	box := b.Seal("signal/1", []byte("payload"))
	if bytes.Equal(box, b.Seal("signal/1", []byte("payload"))) {
		t.Error("equal data gives equal boxes")
	}
	if got, err := b.Open("signal/1", box); string(got) != "payload" || err != nil {
		t.Errorf("opened as %q, %v", got, err)
	}
	f := func(label string, box []byte) {
		t.Helper()
		if got, err := b.Open(label, box); !errors.Is(err, ops.ErrInternal) {
			t.Errorf("%s with %d bytes opened as %q, %v", label, len(box), got, err)
		}
	}
	f("signal/2", box)
	f("signal/1", box[:len(box)-1])
	f("signal/1", box[:5])
	f("signal/1", nil)
}
