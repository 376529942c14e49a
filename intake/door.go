package intake

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/time/rate"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

// Log is the durable log behind the door.
type Log interface {
	// EncodeSignals renders a message the way the log keeps it, without I/O.
	EncodeSignals(m ops.Message) (body, raw []byte, err error)
	// AppendEncoded appends a rendered message. It reports false when the log
	// holds a message of the same integration and dedupe key already.
	AppendEncoded(ctx context.Context, tx db.Tx, m ops.Message, body, raw []byte) (stored bool, err error)
	// SignalDepth returns how many messages wait to be correlated.
	SignalDepth(ctx context.Context) (int64, error)
}

// Limits bound what the door takes. Zero fields get their defaults.
type Limits struct {
	Body         int64         // bytes of a body as transmitted; default 1 MiB
	Decompressed int64         // bytes of a body decompressed; default 4 MiB
	Depth        int64         // messages waiting to be correlated before the door answers 503; default 200,000
	RetryAfter   time.Duration // what a refused sender is told; default 5 s, whole seconds
	Append       time.Duration // how long a delivery may wait to become durable; default 4 s, as EventBridge waits 5 s
}

func (l *Limits) defaults() {
	set := func(p *int64, v int64) {
		if *p <= 0 {
			*p = v
		}
	}
	set(&l.Body, 1<<20)
	set(&l.Decompressed, 4<<20)
	set(&l.Depth, 200_000)
	set((*int64)(&l.RetryAfter), int64(5*time.Second))
	set((*int64)(&l.Append), int64(4*time.Second))
}

// Door is the http.Handler of POST /in/{integration}.
type Door struct {
	options      Options
	integrations map[string]*integration
	retryAfter   string
	depth        depth
	// chatter bounds how many log lines strangers can cause.
	chatter *rate.Limiter
}

type integration struct {
	name      string
	source    string
	decoder   Source
	head      []proof // decided before the body is read
	body      []proof
	passed    []string
	challenge []string
	redact    pointers
	count     counters
	log       *slog.Logger
}

// depth is how much waits behind the door: read from the log at most once per
// depthAge and counted up in between, so that no delivery pays for a read of
// its own and a burst between two reads is seen.
type depth struct {
	known atomic.Int64
	next  atomic.Int64 // when to read again, Unix nanoseconds
}

const depthAge = 200 * time.Millisecond

var _ http.Handler = (*Door)(nil)

// ServeHTTP implements http.Handler.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, ok := strings.CutPrefix(r.URL.Path, "/in/")
	in := d.integrations[name]
	if !ok || in == nil {
		problem{Status: http.StatusNotFound, Field: "path", Value: r.URL.Path, Fix: "post to /in/NAME with the name of a configured integration"}.write(w)
		return
	}
	start := d.options.Clock()
	outcome := Unavailable
	defer func() {
		if p := recover(); p != nil {
			if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(p)
			}
			// A defect of ours must not cost the alert: the sender tries again.
			in.log.LogAttrs(r.Context(), slog.LevelError, "delivery panicked", slog.Any("panic", p))
			d.answerRetry(w)
		}
		in.count.done(outcome, d.options.Clock().Sub(start))
	}()
	outcome = d.serve(w, r, in, start)
}

// answers are the bodies of success, for the person with curl.
var answers = map[Outcome][]byte{
	Accepted:    []byte("{\"status\":\"accepted\"}\n"),
	Duplicate:   []byte("{\"status\":\"duplicate\"}\n"),
	WrongSchema: []byte("{\"status\":\"wrong_schema\"}\n"),
	Confirmed:   []byte("{\"status\":\"confirmed\"}\n"),
	Ignored:     []byte("{\"status\":\"ignored\"}\n"),
}

var jsonHeader = []string{"application/json"}

func (d *Door) serve(w http.ResponseWriter, r *http.Request, in *integration, now time.Time) Outcome {
	ctx := r.Context()
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		problem{Status: http.StatusMethodNotAllowed, Field: "method", Value: r.Method, Fix: "use POST"}.write(w)
		return Invalid
	}
	for i := range in.head {
		if err := in.head[i].head(ctx, r.Header); err != nil {
			return d.refuse(ctx, w, in, err)
		}
	}
	if d.waiting(ctx, now) >= d.options.Limits.Depth {
		d.answerRetry(w)
		return Overload
	}
	if !acceptable(r.Header.Get("Content-Type")) {
		problem{Status: http.StatusUnsupportedMediaType, Field: "Content-Type", Value: r.Header.Get("Content-Type"), Fix: "send application/json"}.write(w)
		return Invalid
	}
	wire, plain := takeBuffer(), takeBuffer()
	defer giveBuffer(wire)
	defer giveBuffer(plain)
	if err := readWire(wire, r, d.options.Limits.Body); err != nil {
		return d.refuse(ctx, w, in, err)
	}
	in.count.bytes.Add(float64(wire.Len()))
	body, err := decompress(plain, wire, r.Header.Get("Content-Encoding"), d.options.Limits.Decompressed)
	if err != nil && len(in.body) > 0 {
		// Whoever may not send learns nothing about what they sent.
		err = errors.Join(err, d.prove(ctx, in, r.Header, wire.Bytes(), nil))
	}
	if err == nil && len(in.body) > 0 {
		err = d.prove(ctx, in, r.Header, wire.Bytes(), body.Bytes())
	}
	if err != nil {
		return d.refuse(ctx, w, in, err)
	}
	outcome, err := d.deliver(ctx, in, &Request{
		Integration: in.name, Header: r.Header, RawQuery: r.URL.RawQuery, Body: body.Bytes(), ReceivedAt: now, Passed: in.passed,
	})
	if err != nil {
		return d.refuse(ctx, w, in, err)
	}
	w.Header()["Content-Type"] = jsonHeader
	w.WriteHeader(http.StatusAccepted)
	_, _ = w.Write(answers[outcome])
	return outcome
}

func (d *Door) prove(ctx context.Context, in *integration, h http.Header, wire, plain []byte) error {
	for i := range in.body {
		if err := in.body[i].body(ctx, h, wire, plain); err != nil {
			return err
		}
	}
	return nil
}

// Deliver takes a payload on behalf of a caller who has been authenticated
// otherwise, as `fettle send` is: it goes the way of a sender's delivery from
// the decoder on. Errors are of class ErrNotFound, ErrInvalid or
// ErrUnavailable.
func (d *Door) Deliver(ctx context.Context, integration string, header http.Header, body []byte) (Outcome, error) {
	in := d.integrations[integration]
	if in == nil {
		return Invalid, &unknown{integration}
	}
	if int64(len(body)) > d.options.Limits.Decompressed {
		return TooLarge, &Fault{Field: "body", Fix: "send less: " + errTooLarge.Error()}
	}
	outcome, err := d.deliver(ctx, in, &Request{Integration: in.name, Header: header, Body: body, ReceivedAt: d.options.Clock()})
	if err == nil {
		in.count.outcomes[outcome].Inc()
	}
	return outcome, err
}

type unknown struct{ name string }

func (u *unknown) Error() string        { return "intake: no integration " + u.name }
func (u *unknown) Is(target error) bool { return target == ops.ErrNotFound }

// deliver decodes an authenticated delivery and makes it durable.
func (d *Door) deliver(ctx context.Context, in *integration, r *Request) (Outcome, error) {
	r.Body = withoutNUL(in.redact.apply(r.Body))
	got, err := in.decoder.Decode(r)
	if err != nil {
		return Invalid, err
	}
	if got.Then != nil {
		wait, cancel := context.WithTimeout(ctx, d.options.Limits.Append)
		defer cancel()
		if err := got.Then(wait); err != nil {
			return Unavailable, err
		}
	}
	if got.Note != "" {
		in.count.notes.Inc()
		d.say(ctx, in, slog.LevelWarn, "delivery needs a look", slog.String("note", got.Note))
	}
	outcome := got.Outcome
	if len(got.Signals) == 0 {
		if outcome == "" {
			outcome = Ignored
		}
		return outcome, nil
	}
	if outcome == "" {
		outcome = Accepted
	}
	stored, err := d.append(ctx, ops.Message{Integration: in.name, Source: in.source, Dedupe: dedupeKey(got.Dedupe), Signals: got.Signals, Raw: r.Body})
	switch {
	case err != nil:
		return Unavailable, err
	case !stored:
		return Duplicate, nil
	}
	d.depth.known.Add(1)
	in.count.signals.Add(float64(len(got.Signals)))
	return outcome, nil
}

// withoutNUL replaces escaped NUL characters, which no text column of
// PostgreSQL takes: an alert that could never be stored would be repeated for
// ever. Unescaped they are not JSON.
func withoutNUL(body []byte) []byte {
	if !bytes.Contains(body, escapedNUL) {
		return body
	}
	return bytes.ReplaceAll(body, escapedNUL, []byte(`\ufffd`))
}

var escapedNUL = []byte(`\u0000`)

// maxDedupe bounds what goes into an index.
const maxDedupe = 200

// dedupeKey makes a sender's id fit for a unique index.
func dedupeKey(id string) string {
	if len(id) <= maxDedupe && utf8.ValidString(id) {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "sha256 " + hex.EncodeToString(sum[:])
}

// append returns once the message is durable.
func (d *Door) append(ctx context.Context, m ops.Message) (stored bool, err error) {
	body, raw, err := d.options.Log.EncodeSignals(m)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, d.options.Limits.Append)
	defer cancel()
	err = d.options.DB.Write(ctx, func(tx db.Tx) (err error) {
		stored, err = d.options.Log.AppendEncoded(ctx, tx, m, body, raw)
		return err
	})
	return stored && err == nil, err
}

// waiting returns how much waits behind the door.
func (d *Door) waiting(ctx context.Context, now time.Time) int64 {
	next := d.depth.next.Load()
	if t := now.UnixNano(); t >= next && d.depth.next.CompareAndSwap(next, t+int64(depthAge)) {
		if n, err := d.options.Log.SignalDepth(ctx); err == nil {
			d.depth.known.Store(n)
		} else {
			// Not knowing is no reason to refuse: an append that fails says so.
			d.say(ctx, nil, slog.LevelWarn, "queue depth not read", slog.String("error", err.Error()))
		}
	}
	return d.depth.known.Load()
}

// refuse answers an error in the way that makes each sender do the right
// thing: try again when it is our fault, stop when it is theirs.
func (d *Door) refuse(ctx context.Context, w http.ResponseWriter, in *integration, err error) Outcome {
	var fault *Fault
	var no *denied
	switch {
	case errors.As(err, &no):
		d.say(ctx, in, slog.LevelWarn, "delivery denied", slog.String("method", no.method), slog.String("error", no.why))
		for _, c := range in.challenge {
			w.Header().Add("WWW-Authenticate", c)
		}
		problem{Status: http.StatusUnauthorized, Field: "auth." + no.method, Fix: "send the credential that is configured for this integration; the server's log says what was wrong"}.write(w)
		return Denied
	case errors.Is(err, errTooLarge):
		d.say(ctx, in, slog.LevelWarn, "delivery too large")
		problem{Status: http.StatusRequestEntityTooLarge, Field: "body", Fix: "send fewer alerts at a time, or raise the limit of this integration"}.write(w)
		return TooLarge
	case errors.Is(err, errCoding):
		w.Header().Set("Accept-Encoding", "gzip, deflate, identity")
		problem{Status: http.StatusUnsupportedMediaType, Field: "Content-Encoding", Fix: "send gzip, deflate or no encoding"}.write(w)
		return Invalid
	case errors.As(err, &fault):
		d.say(ctx, in, slog.LevelWarn, "delivery not understood", slog.String("error", fault.Error()))
		problem{Status: http.StatusBadRequest, Detail: fault.Error(), Field: fault.Field, Value: fault.Value, Fix: fault.Fix}.write(w)
		return Invalid
	case errors.Is(err, errCut):
		// Hardly anybody is left to read this; a proxy that is tries again.
		d.answerRetry(w)
		return Cut
	}
	d.say(ctx, in, slog.LevelError, "delivery not taken", slog.String("error", err.Error()))
	d.answerRetry(w)
	return Unavailable
}

func (d *Door) answerRetry(w http.ResponseWriter) {
	w.Header().Set("Retry-After", d.retryAfter)
	problem{Status: http.StatusServiceUnavailable, Fix: "send the same again after " + d.retryAfter + " seconds; nothing was stored"}.write(w)
}

// say logs what strangers cause, at a bounded rate.
func (d *Door) say(ctx context.Context, in *integration, level slog.Level, msg string, attrs ...slog.Attr) {
	if !d.chatter.AllowN(d.options.Clock(), 1) {
		return
	}
	log := d.options.Logger
	if in != nil {
		log = in.log
	}
	log.LogAttrs(ctx, level, msg, attrs...)
}
