// Package intake is the front door: it authenticates a sender, bounds what it
// may send, decodes it into signals and makes them durable before the sender
// gets a success answer.
//
// A sender repeats what it got no success for and gives up on some answers at
// once. The answer codes are chosen so that none of the supported senders
// gives up on a failure of ours: whatever is our fault is 503 with
// Retry-After, the one code all of them retry (Azure drops an alert on 500,
// Alertmanager on 429). What a retry cannot mend is 4xx.
//
// Each kind of sender is a folder below this one and implements Source, or
// Puller where nobody sends and we fetch.
package intake

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/series"
)

// Decoder fills a struct from a subtree of the configuration. Keys are the
// yaml tags of its fields; unknown keys are errors. A Decoder of nothing leaves
// the struct as it is.
type Decoder interface{ Decode(v any) error }

// Source decodes the deliveries of one integration. It is safe for concurrent
// use.
type Source interface {
	// Decode turns a delivery into signals. It does no I/O and is called again
	// with the same delivery when the sender repeats it, so equal requests give
	// equal results. A payload that cannot be taken is a *Fault.
	Decode(r *Request) (Delivery, error)
}

// Termed is a Source with more to say about what is sent than the door's own
// terms: its paths and the size of its bodies. Media and codings are the door's.
type Termed interface {
	Source
	Terms() Terms
}

// Speaker is a Source whose protocol has terms and answers of its own, as those
// for metrics have. Its Decode may also fail with WrongMediaType or
// WrongCoding, when only the payload's own terms tell. The depth of the signal
// log does not hold a Speaker back: the sample log has a limit of its own.
type Speaker interface {
	Source
	Terms() Terms
	// Answer renders what the sender is told. err is nil after success, and then
	// what was in d is durable, this time or (Duplicate) before. Otherwise
	// nothing of d was kept: err is a *Fault when the payload cannot be taken, of
	// class ErrTooLarge, ErrCoding or ErrMediaType when it was not even decoded,
	// and anything else when the failure is ours and the sender shall try again
	// after retryAfter; outcome Overload is one of those. The body of r is set
	// once it was read and decompressed. Failed authentication is not answered
	// here.
	Answer(r *Request, d Delivery, outcome Outcome, retryAfter time.Duration, err error) Answer
}

// Terms are what a protocol sends.
type Terms struct {
	// Paths are what may follow /in/<integration>, such as /v1/metrics, and ""
	// for the integration's own path; none is the integration's own path alone.
	Paths []string
	// Media are the accepted media types, without parameters.
	Media []string
	// Codings are the accepted content encodings besides none: gzip, deflate,
	// snappy (the block format), zstd.
	Codings []string
	// Implied is the coding of a body whose sender names none; empty is none.
	Implied string
	// Body and Decompressed are limits in bytes; zero is the door's.
	Body, Decompressed int64
}

// Answer is an HTTP answer. Header and Body are not changed once it is given.
type Answer struct {
	Status int
	Header map[string]string
	Body   []byte
}

// Request is one authenticated delivery. It is valid during Decode only: the
// body is reused afterwards.
type Request struct {
	Integration string
	// Path is what followed /in/<integration>: one of the Terms, else empty.
	Path     string
	Header   http.Header
	RawQuery string
	// Body is the payload, decompressed, within the size limit, and where it is
	// JSON with the configured personal fields taken out.
	Body       []byte
	ReceivedAt time.Time
	// Passed names the methods of authentication the delivery passed: bearer,
	// basic, accounts, header, hmac, sns, entra; none when it came through Deliver.
	Passed []string
	// Accounts are those the sender's credential speaks for, where auth.accounts
	// is configured; nil is any.
	Accounts []string
}

// maxAhead is how far a sender's clock may be ahead of ours: what Prometheus
// allows itself.
const maxAhead = 10 * time.Minute

// Newest returns the newest time, Unix milliseconds, that a sample received at
// a time may have. One from farther in the future would make all that its
// series still has to say come too late.
func Newest(receivedAt time.Time) int64 { return receivedAt.Add(maxAhead).UnixMilli() }

// Newest is Newest of this delivery.
func (r *Request) Newest() int64 { return Newest(r.ReceivedAt) }

// HasPassed reports whether the delivery passed the method of authentication.
func (r *Request) HasPassed(method string) bool { return slices.Contains(r.Passed, method) }

// Delivery is what a request carried.
type Delivery struct {
	// Signals may be empty: a delivery can be of no interest.
	Signals []ops.Signal
	// Samples are metric points for the sample log; nil when it has none. The
	// door appends them, all or none, before it answers. Without Dedupe a hash
	// of the body stands in for it: a repeated body changes nothing.
	Samples *series.Batch
	// Refused is how many samples of a Speaker's payload could not be taken,
	// for the metrics.
	Refused int
	// Release, where set, is called once when the door is done with the delivery
	// and its answer, whatever became of it, also when Decode fails.
	Release func()
	// Report is handed to the source's Answer: what was taken and refused.
	Report any
	// Dedupe is the sender's own id of this message, stable over its retries,
	// empty when it has none. A second message with the same id is acknowledged
	// and not stored.
	Dedupe string
	// Outcome says what became of it; empty is Accepted with signals or samples
	// and Ignored without. A Speaker that refuses everything in a payload without
	// an error says Invalid.
	Outcome Outcome
	// Note is logged: what a person should know about this delivery. No payload
	// text that could be personal.
	Note string
	// Then holds the side conversation the sender asks for, such as confirming
	// a subscription. It runs once per delivery, before the answer and with a
	// deadline; when it fails the sender is asked to try again.
	Then func(ctx context.Context) error
}

// Outcome is what became of a delivery, as the metrics count it.
type Outcome string

// The outcomes. Those up to Ignored were answered with success.
const (
	Accepted    Outcome = "accepted"
	Duplicate   Outcome = "duplicate"
	WrongSchema Outcome = "wrong_schema" // understood as far as to say what to change at the sender
	Confirmed   Outcome = "confirmed"    // a subscription
	Ignored     Outcome = "ignored"
	Denied      Outcome = "denied"
	Invalid     Outcome = "invalid"
	TooLarge    Outcome = "too_large"
	Overload    Outcome = "overload"
	Unavailable Outcome = "unavailable"
	Cut         Outcome = "cut" // the sender went away in the middle of the body
)

// Asker is a Source whose sender can be asked for what a recommendation of its
// deliveries lacks.
type Asker interface {
	Source
	// Ask returns what the sender says about a recommendation that Wants
	// something. It changes nothing anywhere. An error of class ErrUnavailable or
	// ErrThrottled may go away; every other is for a person to mend.
	Ask(ctx context.Context, r ops.Recommendation) (Told, error)
}

// Told is what a sender said when it was asked.
type Told struct {
	// Recommendation is the one that was asked about with what was told, and
	// Wants nothing any more.
	Recommendation ops.Recommendation
	// Report is the analysis report, a PDF; nil when there is none.
	Report []byte
	// Note says what could not be had and is not needed.
	Note string
}

// Env is what a source may use besides its request.
type Env struct {
	Integration string
	Clock       clock.Clock
	Log         *slog.Logger
	Fetch       Fetcher
	// Secret resolves references, and Transport is the network, nil for the
	// machine's own: for an Asker.
	Secret    SecretFunc
	Transport http.RoundTripper
	// Parameter reads parameters, for an Asker; nil where nobody can.
	Parameter ParameterFunc
}

// ParameterFunc returns a value of the Parameter Store of an account and region
// with its tags. Errors are those of Asker.
type ParameterFunc func(ctx context.Context, account, region, key string) (value string, tags map[string]string, err error)

// Fetcher gets a document from a URL a sender named. Callers check the host
// first: a URL from outside is how a server is made to talk to the wrong one.
type Fetcher interface {
	// Fetch returns the body of a 200 answer. Anything else is an error of
	// class ErrUnavailable. Redirects are not followed.
	Fetch(ctx context.Context, url string) ([]byte, error)
}

// Driver is a kind of sender.
type Driver struct {
	// Name is the word of `source:` in the configuration.
	Name string
	// Open makes the source of one integration from its options, without I/O; nil for a
	// driver that pulls.
	Open func(options Decoder, env Env) (Source, error)
	// Pull makes the puller of one integration, without I/O; nil for a driver whose senders
	// post.
	Pull func(options Decoder, env PullEnv) (Puller, error)
}

// Define names a driver.
func Define(name string, open func(options Decoder, env Env) (Source, error)) Driver {
	return Driver{Name: name, Open: open}
}
