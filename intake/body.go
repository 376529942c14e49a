package intake

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

var (
	errTooLarge = errors.New("larger than the limit")
	errCut      = errors.New("the connection ended inside the body")
	errCoding   = errors.New("unknown content encoding")
)

// maxPooled keeps a rare large body from staying in memory for ever.
const maxPooled = 256 << 10

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

// readWire reads the body as it was transmitted, at most limit bytes.
func readWire(dst *bytes.Buffer, r *http.Request, limit int64) error {
	if r.ContentLength > limit {
		return errTooLarge
	}
	if r.ContentLength > 0 {
		dst.Grow(int(r.ContentLength) + bytes.MinRead)
	}
	n, err := dst.ReadFrom(&io.LimitedReader{R: r.Body, N: limit + 1})
	switch {
	case n > limit:
		return errTooLarge
	case err != nil:
		return errCut
	}
	return nil
}

var gzips sync.Pool

// decompress undoes one content encoding, writing at most limit bytes. It
// returns src itself when there is none.
func decompress(dst, src *bytes.Buffer, encoding string, limit int64) (*bytes.Buffer, error) {
	var from io.Reader
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "identity":
		if int64(src.Len()) > limit {
			return nil, errTooLarge
		}
		return src, nil
	case "gzip", "x-gzip":
		z, ok := gzips.Get().(*gzip.Reader)
		if !ok {
			z = new(gzip.Reader)
		}
		defer gzips.Put(z)
		if err := z.Reset(bytes.NewReader(src.Bytes())); err != nil {
			return nil, badCoding("gzip")
		}
		from = z
	case "deflate":
		z, err := zlib.NewReader(bytes.NewReader(src.Bytes()))
		if err != nil {
			return nil, badCoding("deflate")
		}
		from = z
	default:
		return nil, fmt.Errorf("%w %q", errCoding, shorten(encoding))
	}
	n, err := dst.ReadFrom(&io.LimitedReader{R: from, N: limit + 1})
	switch {
	case n > limit:
		return nil, errTooLarge
	case err != nil:
		return nil, badCoding(encoding)
	}
	return dst, nil
}

func badCoding(encoding string) error {
	return &Fault{Field: "body", Value: encoding, Fix: "send a whole " + encoding + " stream, or leave Content-Encoding out; this one is broken or was cut off"}
}

// jsonTypes are the media types in which JSON arrives: SNS sends text/plain,
// some tools none at all.
func acceptable(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	media = strings.TrimSpace(media)
	switch media {
	case "application/json", "", "text/plain", "text/json":
		return true
	}
	media = strings.ToLower(media)
	return media == "application/json" || media == "text/plain" || media == "text/json" ||
		strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json")
}
