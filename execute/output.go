package execute

import (
	"bytes"
	"fmt"
	"slices"
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

	mu      sync.Mutex
	partial []byte // the line that has not ended
	kept    ends
}

// ends is the first and the last half of a text.
type ends struct {
	half       int
	head, tail []byte // tail is at most 2*half before it is trimmed to half
	dropped    int64
}

// NewOutput returns an output that keeps at most limit bytes of redacted text,
// plus the line that counts what was left out. A nil redact keeps all as it is.
func NewOutput(limit int, redact func(string) string) *Output {
	if redact == nil {
		redact = func(s string) string { return s }
	}
	return &Output{redact: redact, kept: ends{half: max(limit/2, 1)}}
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
		o.kept.add(o.redact(string(o.partial[:end])))
		o.partial = append(o.partial[:0], o.partial[end:]...)
	}
	return len(p), nil
}

// Text returns what is kept so far as valid UTF-8, the unfinished line
// included.
func (o *Output) Text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	k := o.kept
	k.head, k.tail = slices.Clone(k.head), slices.Clone(k.tail)
	k.add(o.redact(string(o.partial)))
	k.trim()
	if k.dropped == 0 {
		return valid(string(k.head) + string(k.tail))
	}
	return valid(string(k.head)) + fmt.Sprintf("\n... %d bytes left out ...\n", k.dropped) + valid(string(k.tail))
}

func (k *ends) add(s string) {
	if room := k.half - len(k.head); room > 0 {
		n := min(room, len(s))
		k.head = append(k.head, s[:n]...)
		s = s[n:]
	}
	k.tail = append(k.tail, s...)
	if len(k.tail) > 2*k.half {
		k.trim()
	}
}

func (k *ends) trim() {
	if cut := len(k.tail) - k.half; cut > 0 {
		k.dropped += int64(cut)
		k.tail = append(k.tail[:0], k.tail[cut:]...)
	}
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
