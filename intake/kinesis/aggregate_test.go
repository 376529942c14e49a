package kinesis

import (
	"bytes"
	"crypto/md5" //nolint:gosec // the checksum of the format
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// aggregate puts records together as the Kinesis Producer Library does.
func aggregate(records ...string) []byte {
	field := func(b []byte, num protowire.Number, v string) []byte {
		return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), v)
	}
	body := field(nil, 1, "partition-key")
	for _, r := range records {
		rec := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 0)
		body = field(body, 3, string(field(rec, 3, r)))
	}
	sum := md5.Sum(body) //nolint:gosec // as above
	return append(append(slices.Clone(magic), body...), sum[:]...)
}

func TestSplit(t *testing.T) {
	f := func(data []byte, broken bool, want ...string) {
		t.Helper()
		got, err := split(data)
		if (err != nil) != broken || len(got) != len(want) {
			t.Errorf("%q: %q, %v; want %q", data, got, err, want)
			return
		}
		for i := range got {
			if string(got[i]) != want[i] {
				t.Errorf("%q: %q, want %q", data, got, want)
			}
		}
	}
	f([]byte("plain"), false, "plain")
	f(nil, false, "")
	f(magic, false, string(magic))
	f(aggregate("a", "bb", ""), false, "a", "bb", "")
	f(aggregate(), false)
	// Without its checksum it is a record like any other.
	bent := aggregate("a", "b")
	bent[len(bent)-1] ^= 1
	f(bent, false, string(bent))
	// With it and broken inside, what stands before the fault is kept.
	body := append(aggregate("a"), 0)
	body = body[len(magic) : len(body)-1-md5.Size]
	body = append(bytes.Clone(body), 0x1a, 0x7f)
	sum := md5.Sum(body) //nolint:gosec // as above
	f(append(append(slices.Clone(magic), body...), sum[:]...), true, "a")
}

func FuzzSplit(f *testing.F) {
	f.Add([]byte("plain"))
	f.Add(aggregate("a", "bb"))
	f.Fuzz(func(t *testing.T, data []byte) {
		whole := func(b []byte) []byte { // with a checksum that is right, so that the inside is read
			sum := md5.Sum(b) //nolint:gosec // as above
			return append(append(slices.Clone(magic), b...), sum[:]...)
		}
		for _, d := range [][]byte{data, whole(data)} {
			got, err := split(d)
			total := 0
			for _, r := range got {
				total += len(r)
			}
			if total > len(d) {
				t.Errorf("%d bytes out of %d", total, len(d))
			}
			if err == nil && !bytes.HasPrefix(d, magic) && (len(got) != 1 || !bytes.Equal(got[0], d)) {
				t.Errorf("a plain record became %q", got)
			}
		}
	})
}
