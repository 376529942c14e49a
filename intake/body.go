package intake

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"github.com/fettleops/fettle/ops"
)

var (
	errCut  = errors.New("the connection ended inside the body")
	errBusy = errors.New("too many bytes of bodies are in hand")
)

// maxPooled keeps a rare large body from staying in memory for ever.
const maxPooled = 1 << 20

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func takeBuffer() *bytes.Buffer {
	b, ok := buffers.Get().(*bytes.Buffer)
	if !ok {
		return new(bytes.Buffer)
	}
	b.Reset()
	return b
}

func giveBuffer(b *bytes.Buffer) {
	if b.Cap() <= maxPooled {
		buffers.Put(b)
	}
}

// hold is what one delivery holds of the bytes all deliveries may.
type hold struct {
	inHand *atomic.Int64
	limit  int64
	mine   int64
}

// grow takes n bytes more, or none.
func (h *hold) grow(n int64) error {
	if h.inHand.Add(n) > h.limit {
		h.inHand.Add(-n)
		return errBusy
	}
	h.mine += n
	return nil
}

func (h *hold) free() { h.inHand.Add(-h.mine) }

// metered counts what is read against a hold.
type metered struct {
	r io.Reader
	h *hold
}

func (m metered) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	if e := m.h.grow(int64(n)); e != nil {
		return 0, e
	}
	return n, err
}

// fill reads all of from into dst, at most limit bytes. A failure to read is
// broken.
func fill(dst *bytes.Buffer, from io.Reader, limit int64, h *hold, broken error) error {
	n, err := dst.ReadFrom(metered{&io.LimitedReader{R: from, N: limit + 1}, h})
	switch {
	case n > limit:
		return ErrTooLarge
	case errors.Is(err, errBusy):
		return err
	case err != nil:
		return broken
	}
	return nil
}

// readWire reads the body as it was transmitted, at most limit bytes.
func readWire(dst *bytes.Buffer, r *http.Request, limit int64, h *hold) error {
	if r.ContentLength > limit {
		return ErrTooLarge
	}
	if n := r.ContentLength; n > 0 && n <= maxPooled { // a longer one is believed when it comes
		dst.Grow(int(n) + bytes.MinRead)
	}
	return fill(dst, r.Body, limit, h, errCut)
}

var gzips, zstds sync.Pool

// maxWindow is how far back a zstd stream may refer: what RFC 8878 asks
// decoders to support at least.
const maxWindow = 8 << 20

// coding returns which of the accepted codings, or "" for none, a body has.
func coding(header string, accepted []string, implied string) (string, error) {
	switch name := strings.ToLower(strings.TrimSpace(header)); {
	case name == "":
		return implied, nil
	case name == "identity":
		return "", nil
	case slices.Contains(accepted, strings.TrimPrefix(name, "x-")):
		return strings.TrimPrefix(name, "x-"), nil
	}
	return "", WrongCoding(header, "send "+strings.Join(accepted, ", ")+" or no encoding")
}

// decompress undoes one content encoding, writing at most limit bytes. It
// returns src itself when there is none.
func decompress(dst, src *bytes.Buffer, name string, limit int64, h *hold) (*bytes.Buffer, error) {
	var from io.Reader
	switch name {
	case "":
		if int64(src.Len()) > limit {
			return nil, ErrTooLarge
		}
		return src, nil
	case "snappy":
		return dst, unsnap(dst, src.Bytes(), limit, h)
	case "gzip":
		z, ok := gzips.Get().(*gzip.Reader)
		if !ok {
			z = new(gzip.Reader)
		}
		defer gzips.Put(z)
		if err := z.Reset(bytes.NewReader(src.Bytes())); err != nil {
			return nil, badCoding(name)
		}
		from = z
	case "deflate":
		z, err := zlib.NewReader(bytes.NewReader(src.Bytes()))
		if err != nil {
			return nil, badCoding(name)
		}
		from = z
	case "zstd":
		z, ok := zstds.Get().(*zstd.Decoder)
		if !ok {
			var err error
			// One goroutine, the caller's, so that a forgotten decoder is only memory.
			if z, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow)); err != nil {
				return nil, fmt.Errorf("intake: make a zstd decoder: %w", err)
			}
		}
		defer zstds.Put(z)
		if err := z.Reset(bytes.NewReader(src.Bytes())); err != nil {
			return nil, badCoding(name)
		}
		from = z
	default:
		return nil, fmt.Errorf("intake: a source names the coding %q, which the door does not know: %w", name, ops.ErrInternal)
	}
	return dst, fill(dst, from, limit, h, badCoding(name))
}

// unsnap decodes the block format of snappy, which announces its length. A
// body that announces more than it could hold gets no memory: three bytes copy
// 64 at most.
func unsnap(dst *bytes.Buffer, src []byte, limit int64, h *hold) error {
	n, err := s2.DecodedLen(src)
	switch {
	case err != nil:
		return badCoding("snappy")
	case int64(n) > limit:
		return ErrTooLarge
	case n > 22*len(src):
		return badCoding("snappy")
	}
	if err := h.grow(int64(n)); err != nil {
		return err
	}
	dst.Grow(n)
	plain, err := s2.Decode(dst.AvailableBuffer()[:n], src)
	if err != nil {
		return badCoding("snappy")
	}
	_, _ = dst.Write(plain) // in place, and a bytes.Buffer takes everything
	return nil
}

func badCoding(encoding string) error {
	return &Fault{Field: "body", Value: encoding, Fix: "send a whole " + encoding + " stream, or leave Content-Encoding out; this one is broken or was cut off"}
}

// mediaType is a Content-Type without its parameters.
func mediaType(contentType string) string {
	media, _, _ := strings.Cut(contentType, ";")
	return strings.TrimSpace(media)
}

// isJSON reports the media types in which JSON arrives: SNS sends text/plain,
// some tools none at all.
func isJSON(media string) bool {
	switch media {
	case "application/json", "", "text/plain", "text/json":
		return true
	}
	media = strings.ToLower(media)
	return media == "application/json" || media == "text/plain" || media == "text/json" ||
		strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json")
}
