package blob

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
)

func TestBoxesOfManyKeysOpen(t *testing.T) {
	v, err := newVault(bytes.Repeat([]byte{7}, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	boxes := map[string][]byte{}
	headers := map[string]bool{}
	for i := range maxOpeners + 20 { // more keys than are kept
		v.current.Load().count.Store(sealsPerKey - 2)
		for j := range 3 { // over the change of keys
			name := fmt.Sprint(i, "/", j)
			boxes[name] = v.seal("x", []byte(name))
			headers[string(boxes[name][:headerSize])] = true
		}
	}
	if len(headers) != len(boxes) {
		t.Errorf("%d boxes share %d pairs of key and nonce", len(boxes), len(headers))
	}
	for name, box := range boxes {
		if got, err := v.open("x", box); string(got) != name || err != nil {
			t.Fatalf("%s opened as %q, %v", name, got, err)
		}
	}
	again, err := newVault(bytes.Repeat([]byte{7}, KeySize)) // after a restart
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.open("x", boxes["0/0"]); string(got) != "0/0" || err != nil {
		t.Errorf("after a restart opened as %q, %v", got, err)
	}
}

func TestSealedAtOnceIsSealedApart(t *testing.T) {
	v, err := newVault(make([]byte, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	v.current.Load().count.Store(sealsPerKey - 500)
	var headers sync.Map
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 100 {
				if _, twice := headers.LoadOrStore(string(v.seal("x", nil)[:headerSize]), true); twice {
					t.Error("two boxes share key and nonce")
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkSeal(b *testing.B) {
	v, err := newVault(make([]byte, KeySize))
	if err != nil {
		b.Fatal(err)
	}
	data := make([]byte, 1<<10)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		v.seal("signal", data)
	}
}
