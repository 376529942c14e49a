package execute

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"
)

// OutputLimit is how much of a tool's output is kept: the first half and the
// last half of it, with a line in between that counts what was left out.
const OutputLimit = 256 << 10

// maxLine bounds a line that never ends; it is then cut and kept as a line.
const maxLine = 16 << 10

// Output keeps what a tool says: redacted line by line, bounded at its head
// and tail, readable while it grows. It never fails a write, so that no tool
// breaks because it talks too much. Safe for concurrent use.
type Output struct {
	redact func(string) string
	half   int

	mu      sync.Mutex
	partial []byte // the line that has not ended
	head    []byte
	tail    []byte // at most 2*half before it is trimmed to half
	dropped int64
}

// NewOutput returns an output that keeps at most limit bytes of redacted text,
// plus the line that counts what was left out. A nil redact keeps all as it is.
func NewOutput(limit int, redact func(string) string) *Output {
	if redact == nil {
		redact = func(s string) string { return s }
	}
	return &Output{redact: redact, half: max(limit/2, 1)}
}

// Write takes what the tool said. A secret cut in two by a write is whole again
// before it is redacted, as long as it stands on one line.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.partial = append(o.partial, p...)
	for {
		end := bytes.IndexByte(o.partial, '\n') + 1
		if end == 0 {
			if len(o.partial) <= maxLine {
				break
			}
			end = maxLine
		}
		o.keep(o.redact(string(o.partial[:end])))
		o.partial = append(o.partial[:0], o.partial[end:]...)
	}
	return len(p), nil
}

func (o *Output) keep(s string) {
	if room := o.half - len(o.head); room > 0 && len(o.tail) == 0 {
		n := min(room, len(s))
		o.head = append(o.head, s[:n]...)
		s = s[n:]
	}
	o.tail = append(o.tail, s...)
	if len(o.tail) > 2*o.half {
		cut := len(o.tail) - o.half
		o.dropped += int64(cut)
		o.tail = append(o.tail[:0], o.tail[cut:]...)
	}
}

// Text returns what is kept so far as valid UTF-8, the unfinished line
// included.
func (o *Output) Text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	tail, dropped := append([]byte{}, o.tail...), o.dropped
	tail = append(tail, o.redact(string(o.partial))...)
	if room := o.half - len(o.head); room > 0 && dropped == 0 {
		return valid(string(o.head) + string(tail))
	}
	if cut := len(tail) - o.half; cut > 0 {
		tail, dropped = tail[cut:], dropped+int64(cut)
	}
	if dropped == 0 {
		return valid(string(o.head) + string(tail))
	}
	return valid(string(o.head)) + fmt.Sprintf("\n... %d bytes left out ...\n", dropped) + valid(string(tail))
}

func valid(s string) string { return strings.ToValidUTF8(s, string(utf8.RuneError)) }

// Shorten keeps the head and tail of text in at most about limit bytes.
func Shorten(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	half := limit / 2
	return valid(text[:half]) + fmt.Sprintf("\n... %d bytes left out ...\n", len(text)-2*half) + valid(text[len(text)-half:])
}
