package intake

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/time/rate"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/series"
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
	InHand       int64         // bytes of bodies in hand at once, as transmitted and decompressed; default 512 MiB, past it senders wait
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
	set(&l.InHand, 512<<20)
}

// Door is the http.Handler of POST /in/{integration}, and of the paths below it
// that a Speaker's terms name.
type Door struct {
	options      Options
	integrations map[string]*integration
	pulls        []*Pull
	depth        depth
	inHand       atomic.Int64 // bytes of bodies
	// chatter bounds how many log lines strangers can cause.
	chatter *rate.Limiter
}

type integration struct {
	name      string
	source    string
	decoder   Source
	speaker   Speaker // the decoder, if it is one
	terms     Terms   // of any source, with nothing left out
	head      []proof // decided before the body is read
	body      []proof
	passed    []string
	accounts  func(h http.Header) []string // nil: a credential speaks for any
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
	in, path := d.find(r.URL.Path)
	if in == nil {
		problem{Status: http.StatusNotFound, Field: "path", Value: r.URL.Path, Fix: "post to /in/NAME with the name of a configured integration, and what its source says may follow"}.write(w)
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
			Problem(nil, d.options.Limits.RetryAfter).write(w)
		}
		in.count.done(outcome, d.options.Clock().Sub(start))
	}()
	outcome = d.serve(w, r, in, &Request{
		Integration: in.name, Path: path, Header: r.Header, RawQuery: r.URL.RawQuery, ReceivedAt: start, Passed: in.passed,
	})
}

// find returns the integration of a URL's path, and what follows its name.
func (d *Door) find(url string) (in *integration, path string) {
	name, ok := strings.CutPrefix(url, "/in/")
	if i := strings.IndexByte(name, '/'); i >= 0 {
		name, path = name[:i], name[i:]
	}
	in = d.integrations[name]
	if !ok || in == nil || !slices.Contains(in.terms.Paths, path) {
		return nil, ""
	}
	return in, path
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

// errDepth says that correlation is too far behind.
var errDepth = errors.New("too many messages wait to be correlated")

func (d *Door) serve(w http.ResponseWriter, r *http.Request, in *integration, req *Request) Outcome {
	ctx := r.Context()
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		problem{Status: http.StatusMethodNotAllowed, Field: "method", Value: r.Method, Fix: "use POST"}.write(w)
		return Invalid
	}
	if err := in.admits(ctx, r.Header); err != nil {
		return d.refuse(ctx, w, in, req, Delivery{}, err)
	}
	if in.accounts != nil {
		req.Accounts = in.accounts(r.Header)
	}
	if in.speaker == nil && d.waiting(ctx, req.ReceivedAt) >= d.options.Limits.Depth {
		return d.refuse(ctx, w, in, req, Delivery{}, errDepth)
	}
	if err := in.media(r.Header.Get("Content-Type")); err != nil {
		return d.refuse(ctx, w, in, req, Delivery{}, err)
	}
	wire, plain := takeBuffer(), takeBuffer()
	defer giveBuffer(wire)
	defer giveBuffer(plain)
	held := hold{inHand: &d.inHand, limit: d.options.Limits.InHand}
	defer held.free()
	if err := readWire(wire, r, in.terms.Body, &held); err != nil {
		return d.refuse(ctx, w, in, req, Delivery{}, err)
	}
	in.count.bytes.Add(float64(wire.Len()))
	body, err := in.unpack(plain, wire, r.Header.Get("Content-Encoding"), &held)
	if err != nil && len(in.body) > 0 {
		// Whoever may not send learns nothing about what they sent.
		err = errors.Join(err, d.prove(ctx, in, r.Header, wire.Bytes(), nil))
	}
	if err == nil && len(in.body) > 0 {
		err = d.prove(ctx, in, r.Header, wire.Bytes(), body.Bytes())
	}
	if err != nil {
		return d.refuse(ctx, w, in, req, Delivery{}, err)
	}
	req.Body = body.Bytes()
	got, outcome, err := d.deliver(ctx, in, req, wire.Bytes())
	defer got.release()
	if err != nil {
		return d.refuse(ctx, w, in, req, got, err)
	}
	if in.speaker != nil {
		in.speaker.Answer(req, got, outcome, d.options.Limits.RetryAfter, nil).write(w)
		return outcome
	}
	w.Header()["Content-Type"] = jsonHeader
	w.WriteHeader(http.StatusAccepted)
	_, _ = w.Write(answers[outcome])
	return outcome
}

// admits decides what the headers alone decide about a sender.
func (in *integration) admits(ctx context.Context, h http.Header) error {
	for i := range in.head {
		if err := in.head[i].head(ctx, h); err != nil {
			return err
		}
	}
	return nil
}

// media refuses a Content-Type the source does not read.
func (in *integration) media(contentType string) error {
	media := mediaType(contentType)
	if in.speaker == nil {
		if isJSON(media) {
			return nil
		}
		return WrongMediaType(contentType, "send application/json")
	}
	for _, m := range in.terms.Media {
		if strings.EqualFold(m, media) {
			return nil
		}
	}
	return WrongMediaType(contentType, "send "+strings.Join(in.terms.Media, " or "))
}

func (in *integration) unpack(plain, wire *bytes.Buffer, header string, held *hold) (*bytes.Buffer, error) {
	name, err := coding(header, in.terms.Codings, in.terms.Implied)
	if err != nil {
		return nil, err
	}
	return decompress(plain, wire, name, in.terms.Decompressed, held)
}

func (d *Delivery) release() {
	if d.Release != nil {
		d.Release()
	}
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
// otherwise, as `fettle send` is: it goes the way of a sender's delivery but
// for its credential and path, with its Content-Type (a Speaker's must be one of
// its terms) and its Content-Encoding. Errors are of class ErrNotFound,
// ErrInvalid or ErrUnavailable.
func (d *Door) Deliver(ctx context.Context, integration string, header http.Header, body []byte) (Outcome, error) {
	in := d.integrations[integration]
	if in == nil {
		for _, p := range d.pulls {
			if p.Integration == integration {
				return Invalid, &Fault{Field: "integration", Value: integration, Fix: "send to another: this one fetches, and nothing can be sent to it"}
			}
		}
		return Invalid, &unknown{integration}
	}
	plain := takeBuffer()
	defer giveBuffer(plain)
	held := hold{inHand: &d.inHand, limit: d.options.Limits.InHand}
	defer held.free()
	name, err := coding(header.Get("Content-Encoding"), in.terms.Codings, in.terms.Implied)
	if err == nil && in.speaker != nil {
		err = in.media(header.Get("Content-Type"))
	}
	if err != nil {
		return Invalid, &Fault{Field: "header", Fix: err.Error()}
	}
	unpacked, err := decompress(plain, bytes.NewBuffer(body), name, in.terms.Decompressed, &held)
	if errors.Is(err, ErrTooLarge) {
		return TooLarge, &Fault{Field: "body", Fix: "send less: " + err.Error()}
	}
	if err != nil {
		return Invalid, err
	}
	got, outcome, err := d.deliver(ctx, in, &Request{Integration: in.name, Header: header, Body: unpacked.Bytes(), ReceivedAt: d.options.Clock()}, body)
	defer got.release()
	switch {
	case err == nil && outcome == Invalid:
		return outcome, &Fault{Field: "body", Fix: got.Note}
	case err == nil:
		in.count.outcomes[outcome].Inc()
	case errors.Is(err, series.ErrFull):
		return Overload, fmt.Errorf("%w: %w", err, ops.ErrUnavailable)
	}
	return outcome, err
}

type unknown struct{ name string }

func (u *unknown) Error() string        { return "intake: no integration " + u.name }
func (u *unknown) Is(target error) bool { return target == ops.ErrNotFound }

// deliver decodes an authenticated delivery and makes it durable. The wire is
// the body as it was transmitted. The delivery is to be released by the caller,
// also after an error.
func (d *Door) deliver(ctx context.Context, in *integration, r *Request, wire []byte) (Delivery, Outcome, error) {
	if isJSON(mediaType(r.Header.Get("Content-Type"))) || in.speaker == nil {
		r.Body = withoutNUL(in.redact.apply(r.Body))
	}
	got, err := in.decoder.Decode(r)
	if err != nil {
		return got, Invalid, err
	}
	if got.Then != nil {
		wait, cancel := context.WithTimeout(ctx, d.options.Limits.Append)
		defer cancel()
		if err := got.Then(wait); err != nil {
			return got, Unavailable, err
		}
	}
	if got.Note != "" {
		in.count.notes.Inc()
		d.say(ctx, in, slog.LevelWarn, "delivery needs a look", slog.String("note", got.Note))
	}
	in.count.refused.Add(float64(got.Refused))
	samples := got.Samples != nil && got.Samples.Samples() > 0
	outcome := got.Outcome
	if outcome == "" {
		outcome = Ignored
		if samples || len(got.Signals) > 0 {
			outcome = Accepted
		}
	}
	if samples {
		if err := d.appendSamples(ctx, in, &got, wire); err != nil {
			return got, Unavailable, err
		}
		in.count.samples.Add(float64(got.Samples.Samples()))
	}
	if len(got.Signals) == 0 {
		return got, outcome, nil
	}
	stored, err := d.append(ctx, ops.Message{Integration: in.name, Source: in.source, Dedupe: dedupeKey(got.Dedupe), Signals: got.Signals, Raw: r.Body})
	switch {
	case err != nil:
		return got, Unavailable, err
	case !stored:
		return got, Duplicate, nil
	}
	d.depth.known.Add(1)
	in.count.signals.Add(float64(len(got.Signals)))
	return got, outcome, nil
}

// appendSamples returns once the samples are durable.
func (d *Door) appendSamples(ctx context.Context, in *integration, got *Delivery, wire []byte) error {
	if d.options.Samples == nil {
		return fmt.Errorf("intake: %s gives samples and there is no sample log: %w", in.source, ops.ErrInternal)
	}
	key := got.Dedupe
	if key == "" {
		sum := sha256.Sum256(wire)
		key = "sha256 " + hex.EncodeToString(sum[:])
	}
	return d.appendRecords(ctx, records(in.name, key, got.Samples))
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
func (d *Door) refuse(ctx context.Context, w http.ResponseWriter, in *integration, req *Request, got Delivery, err error) Outcome {
	outcome := d.judge(ctx, in, err)
	var no *denied
	switch {
	case errors.As(err, &no):
		for _, c := range in.challenge {
			w.Header().Add("WWW-Authenticate", c)
		}
		problem{Status: http.StatusUnauthorized, Field: "auth." + no.method, Fix: "send the credential that is configured for this integration; the server's log says what was wrong"}.write(w)
		return outcome
	case errors.Is(err, ErrCoding):
		w.Header().Set("Accept-Encoding", strings.Join(append(slices.Clone(in.terms.Codings), "identity"), ", "))
	}
	answer := Problem
	if in.speaker != nil {
		answer = func(err error, retryAfter time.Duration) Answer {
			return in.speaker.Answer(req, got, outcome, retryAfter, err)
		}
	}
	answer(err, d.options.Limits.RetryAfter).write(w)
	return outcome
}

// judge says what became of a delivery that failed, and logs it.
func (d *Door) judge(ctx context.Context, in *integration, err error) Outcome {
	var fault *Fault
	var no *denied
	switch {
	case errors.As(err, &no):
		d.say(ctx, in, slog.LevelWarn, "delivery denied", slog.String("method", no.method), slog.String("error", no.why))
		return Denied
	case errors.Is(err, ErrTooLarge):
		d.say(ctx, in, slog.LevelWarn, "delivery too large")
		return TooLarge
	case errors.Is(err, ErrCoding), errors.Is(err, ErrMediaType):
		return Invalid
	case errors.As(err, &fault):
		d.say(ctx, in, slog.LevelWarn, "delivery not understood", slog.String("error", fault.Error()))
		return Invalid
	case errors.Is(err, errCut):
		// Hardly anybody is left to read the answer; a proxy that is tries again.
		return Cut
	case errors.Is(err, errDepth), errors.Is(err, errBusy), errors.Is(err, series.ErrFull):
		d.say(ctx, in, slog.LevelWarn, "delivery put off", slog.String("error", err.Error()))
		return Overload
	}
	d.say(ctx, in, slog.LevelError, "delivery not taken", slog.String("error", err.Error()))
	return Unavailable
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
