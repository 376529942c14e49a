// Package seriestest holds the conformance suite of the sample log and a log
// in memory for tests.
package seriestest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/series"
)

// MaxBytes is what the log under test keeps at most.
const MaxBytes = 1 << 20

// Run proves that a log keeps the contract of series.Log. open gives an empty
// log of at most MaxBytes and how to close and open it again.
func Run(t *testing.T, open func(t *testing.T) (log series.Log, again func() series.Log)) {
	for _, rule := range []struct {
		name, why string
		check     func(t *testing.T, l *house)
	}{
		{"offsets", "a reader that counts must see every record once", offsets},
		{"together", "senders append at the same time, and a reader may not miss the slower one", together},
		{"dedupe", "a sender repeats what it got no answer for", dedupe},
		{"atomic", "half a delivery is worse than none", atomic},
		{"restart", "acknowledged means it survives", restart},
		{"full", "a log that grows for ever takes the machine down", full},
		{"trim", "what every model contains is let go, and nobody reads a hole as silence", trim},
		{"bounded", "a reader that is far behind must not read it all into memory", bounded},
		{"grown", "detection follows within moments, without polling in a tight loop", grown},
	} {
		t.Run(rule.name, func(t *testing.T) {
			t.Helper()
			log, again := open(t)
			rule.check(t, &house{T: t, Log: log, again: again})
			if t.Failed() {
				t.Log("why: " + rule.why)
			}
		})
	}
}

type house struct {
	*testing.T
	series.Log
	again func() series.Log
}

func (h *house) append(texts ...string) int64 {
	h.Helper()
	last, err := h.Append(h.Context(), records(texts...)...)
	if err != nil {
		h.Fatal(err)
	}
	return last
}

// records makes one record per text; "key=body" has a dedupe key.
func records(texts ...string) []series.Record {
	var out []series.Record
	for _, s := range texts {
		key, body, found := strings.Cut(s, "=")
		if !found {
			key, body = "", s
		}
		out = append(out, series.Record{Kind: series.Samples, Dedupe: key, Body: []byte(body)})
	}
	return out
}

// after returns what is read after an offset, as "offset:body".
func (h *house) after(offset int64) string {
	h.Helper()
	got, err := h.Read(h.Context(), offset, 1<<20)
	if err != nil {
		h.Fatal(err)
	}
	var out []string
	for _, r := range got {
		out = append(out, fmt.Sprintf("%d:%s", r.Offset, r.Body))
	}
	return strings.Join(out, " ")
}

func (h *house) want(got, want string) {
	h.Helper()
	if got != want {
		h.Errorf("got %q, want %q", got, want)
	}
}

func offsets(t *testing.T, l *house) {
	l.want(l.after(0), "")
	if last := l.append("a", "b"); last != 2 {
		t.Errorf("last %d, want 2", last)
	}
	l.append("c")
	l.want(l.after(0), "1:a 2:b 3:c")
	l.want(l.after(2), "3:c")
	l.want(l.after(3), "")
	if _, err := l.Append(t.Context(), series.Record{Kind: series.Hold, Body: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	got, err := l.Read(t.Context(), 3, 1)
	if err != nil || len(got) != 1 || got[0].Kind != series.Hold {
		t.Errorf("got %+v, %v, want the kind kept", got, err)
	}
}

func together(t *testing.T, l *house) {
	const writers, each = 8, 20
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				if _, err := l.Append(t.Context(), records(fmt.Sprintf("%d-%d=%d.%d", w, i, w, i), "x")...); err != nil {
					t.Error(err)
				}
			}
		})
	}
	seen := map[string]bool{}
	var at int64
	for at < 2*writers*each && !t.Failed() {
		got, err := l.Read(t.Context(), at, 1<<10)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range got {
			at++
			if r.Offset != at {
				t.Fatalf("offset %d after %d", r.Offset, at-1)
			}
			if r.Dedupe != "" {
				seen[string(r.Body)] = true
			}
		}
	}
	all.Wait()
	if len(seen) != writers*each {
		t.Errorf("read %d bodies, want %d", len(seen), writers*each)
	}
}

func dedupe(t *testing.T, l *house) {
	l.append("k1=a", "b")
	l.append("k1=a", "b")
	if last := l.append("k1=a"); last != 3 {
		t.Errorf("last %d, want that of the newest record", last)
	}
	l.append("k2=a", "k2=a")
	l.want(l.after(0), "1:a 2:b 3:b 4:a")
	long := strings.Repeat("k", 5000)
	l.append(long+"=z", long+"=z")
	l.want(l.after(4), "5:z")
	if err := l.Trim(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
}

func atomic(t *testing.T, l *house) {
	big := series.Record{Kind: series.Samples, Body: make([]byte, MaxBytes)}
	if _, err := l.Append(t.Context(), append(records("a"), big)...); !errors.Is(err, series.ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
	l.want(l.after(0), "")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Append(gone, records("b")...); err == nil {
		t.Error("appended for a caller who had given up")
	}
	l.append("c")
	l.want(l.after(0), "1:c")
}

func restart(t *testing.T, l *house) {
	l.append("k=a", "b")
	if err := l.Trim(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	l.Log = l.again()
	l.append("c", "b2=d", "b2=d")
	l.want(l.after(1), "2:b 3:c 4:d")
	b, err := l.Bounds(t.Context())
	if err != nil || b.Last != 4 || b.After > 1 {
		t.Errorf("bounds %+v, %v", b, err)
	}
}

func full(t *testing.T, l *house) {
	half := strings.Repeat("x", MaxBytes/2)
	l.append(half)
	l.append(half)
	if _, err := l.Append(t.Context(), records("k=y")...); !errors.Is(err, series.ErrFull) {
		t.Fatalf("got %v, want ErrFull", err)
	}
	if err := l.Trim(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if last := l.append("k=y"); last != 3 {
		t.Errorf("last %d after room was made, want 3: what was refused left nothing behind", last)
	}
}

func trim(t *testing.T, l *house) {
	for i := range 600 {
		l.append(fmt.Sprint(i))
	}
	if err := l.Trim(t.Context(), 590); err != nil {
		t.Fatal(err)
	}
	b, err := l.Bounds(t.Context())
	if err != nil || b.Last != 600 || b.After > 590 {
		t.Fatalf("bounds %+v, %v", b, err)
	}
	l.want(l.after(598), "599:598 600:599")
	if b.After > 0 {
		if _, err := l.Read(t.Context(), b.After-1, 1); !errors.Is(err, ops.ErrNotFound) {
			t.Errorf("read of what is gone: %v, want ErrNotFound", err)
		}
	}
	if b.After == 590 && b.Bytes != 30 {
		t.Errorf("%d bytes kept, want 30", b.Bytes)
	}
	if err := l.Trim(t.Context(), 1_000_000); err != nil {
		t.Fatal(err)
	}
	if last := l.append("next"); last != 601 {
		t.Errorf("offset %d after all was trimmed, want 601", last)
	}
	if err := l.Trim(t.Context(), 5); err != nil {
		t.Errorf("trim of what is gone: %v", err)
	}
	l.want(l.after(600), "601:next")
}

func bounded(t *testing.T, l *house) {
	for range 50 {
		l.append(strings.Repeat("x", 1000))
	}
	got, err := l.Read(t.Context(), 0, 10_000)
	if err != nil || len(got) < 9 || len(got) > 11 {
		t.Errorf("read %d records of 1000 bytes for 10000, %v", len(got), err)
	}
	got, err = l.Read(t.Context(), 0, 1)
	if err != nil || len(got) != 1 {
		t.Errorf("read %d records, %v, want one however large", len(got), err)
	}
}

func grown(t *testing.T, l *house) {
	l.append("a")
	l.append("b")
	<-l.Grown()
	select {
	case <-l.Grown():
		t.Error("told twice of what one read sees")
	default:
	}
	done := make(chan error, 1)
	go func() {
		_, err := l.Append(t.Context(), records("c")...)
		done <- err
	}()
	<-l.Grown()
	l.want(l.after(2), "3:c")
	if err := <-done; err != nil {
		t.Error(err)
	}
}
