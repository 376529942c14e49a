package intake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/internal/failpoint"
	"github.com/fettleops/fettle/internal/lease"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/series"
)

// Puller fetches what is kept elsewhere, where nobody posts.
type Puller interface {
	// Run fetches until ctx ends, gives back what it holds and returns nil. An
	// error is logged, and Run is called again after a while.
	Run(ctx context.Context) error
}

// Prober is implemented by pullers that can look whether fetching would work.
type Prober interface {
	// Probe returns findings without Integration. It changes nothing.
	Probe(ctx context.Context) []Finding
}

// PullEnv is what a puller may use. Making one does no I/O and uses nothing of
// it: for a diagnosis Leases and Sink are nil.
type PullEnv struct {
	Integration string
	// Holder names this process among all that share the store.
	Holder string
	Clock  clock.Clock
	Log    *slog.Logger
	Secret SecretFunc
	// Leases are those of this integration.
	Leases lease.Table
	Sink   *Sink
	// Transport is the network; nil is the client library's own.
	Transport http.RoundTripper
}

// DefinePull names a driver whose integrations fetch.
func DefinePull(name string, pull func(options Decoder, env PullEnv) (Puller, error)) Driver {
	return Driver{Name: name, Pull: pull}
}

// Pull is the loop of one integration that fetches.
type Pull struct {
	Integration string
	puller      Puller
	clock       clock.Clock
	log         *slog.Logger
}

// How long a puller that failed rests.
const (
	minRest = 5 * time.Second
	maxRest = 5 * time.Minute
)

// Run fetches until ctx ends. It returns nil then, whatever happened before: a
// failure is logged and fetching begun again, after 5 s at first and 5 min at
// most.
func (p *Pull) Run(ctx context.Context) error {
	for rest := minRest; ; rest = min(2*rest, maxRest) {
		began := p.clock()
		err := p.once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if p.clock().Sub(began) > maxRest {
			rest = minRest
		}
		p.log.LogAttrs(ctx, slog.LevelError, "fetching stopped", slog.Any("error", err), slog.Duration("again_in", rest))
		t := time.NewTimer(rest)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
}

func (p *Pull) once(ctx context.Context) (err error) {
	defer func() {
		if v := recover(); v != nil { // a defect of ours must not cost the other loops
			err = fmt.Errorf("intake: fetching for %s panicked: %v: %w", p.Integration, v, ops.ErrInternal)
		}
	}()
	if err := p.puller.Run(ctx); err != nil {
		return err
	}
	return errors.New("the source has nothing more to fetch")
}

// Pulls returns the loops of the integrations that fetch, for the caller to
// run, by name.
func (d *Door) Pulls() []*Pull { return slices.Clone(d.pulls) }

// driver returns the driver of an integration.
func (b *builder) driver(c Integration) (Driver, error) {
	var known []string
	for _, d := range b.Drivers {
		if d.Name == c.Source {
			return d, nil
		}
		known = append(known, d.Name)
	}
	return Driver{}, &Fault{Field: "source", Value: c.Source, Fix: fmt.Sprintf("%q is no source; write one of %q", c.Source, known)}
}

// pull makes the puller of an integration. Without a sink it only looks
// whether one could be made.
func (b *builder) pull(c Integration, driver Driver, log *slog.Logger, sink *Sink) (Puller, error) {
	auth, err := decodeAuth(c.Auth)
	switch {
	case err != nil:
		return nil, err
	case auth.None || len(auth.Methods()) > 0:
		return nil, &Fault{Field: "auth", Fix: "remove it: " + c.Source + " fetches, nobody sends here"}
	case len(c.Redact) > 0:
		return nil, &Fault{Field: "redact", Value: c.Redact[0], Fix: "remove it: what " + c.Source + " fetches is kept as samples only"}
	case b.Samples == nil:
		return nil, &Fault{Field: "source", Value: c.Source, Fix: "remove the integration: this server keeps no sample log, so it cannot take metrics"}
	}
	options := c.Options
	if options == nil {
		options = Nothing{}
	}
	env := PullEnv{Integration: c.Name, Holder: b.Holder, Clock: b.Clock, Log: log, Secret: b.Secret, Sink: sink, Transport: b.Transport}
	if sink != nil {
		if b.Leases == nil {
			return nil, fmt.Errorf("intake: %s fetches and there is no table of leases: %w", c.Source, ops.ErrInternal)
		}
		env.Leases = b.Leases("intake/" + c.Name)
	}
	p, err := driver.Pull(options, env)
	if err != nil {
		return nil, fmt.Errorf("options: %w", err)
	}
	return p, nil
}

// Sink takes what a puller fetched into the sample log. It is safe for
// concurrent use.
type Sink struct {
	door *Door
	in   *integration

	mu     sync.Mutex
	behind map[string]time.Duration
}

// Page is what one fetch brought, message by message.
type Page struct {
	integration string
	records     []series.Record
	samples     int
	refused     int
	bytes       int
	size        int
	notes       []string
}

// NewPage returns an empty page.
func (s *Sink) NewPage() *Page { return &Page{integration: s.in.name} }

// Fetched is one message of a page.
type Fetched struct {
	// Dedupe is what the message is known by when it is fetched again.
	Dedupe string
	// Bytes is its length as it was transmitted.
	Bytes int
	// Samples are read in Add and may be reused.
	Samples *series.Batch
	// Refused is how many samples of it could not be taken, and Note what a
	// person should know of that.
	Refused int
	Note    string
}

// Add adds a message. Equal messages are equal, whatever page they are in.
func (p *Page) Add(f Fetched) {
	for _, r := range records(p.integration, f.Dedupe, f.Samples) {
		p.records, p.size = append(p.records, r), p.size+len(r.Body)
	}
	p.samples += f.Samples.Samples()
	p.refused += f.Refused
	p.bytes += f.Bytes
	if f.Note != "" {
		p.notes = append(p.notes, f.Note)
	}
}

// Size returns how many bytes the page takes in the log.
func (p *Page) Size() int { return p.size }

// Append returns once the page is durable. After an error nothing of it was
// kept, and it can be appended again.
func (s *Sink) Append(ctx context.Context, p *Page) error {
	start := s.door.options.Clock()
	outcome := Ignored
	if len(p.records) > 0 {
		outcome = Accepted
		if err := s.door.appendRecords(ctx, p.records); err != nil {
			outcome = Unavailable
			if errors.Is(err, series.ErrFull) {
				outcome = Overload
			}
			s.in.count.done(outcome, s.door.options.Clock().Sub(start))
			return err
		}
	} else if p.refused > 0 {
		outcome = Invalid
	}
	s.in.count.samples.Add(float64(p.samples))
	s.in.count.refused.Add(float64(p.refused))
	s.in.count.bytes.Add(float64(p.bytes))
	s.in.count.notes.Add(float64(len(p.notes)))
	for _, note := range p.notes {
		s.door.say(ctx, s.in, slog.LevelWarn, "delivery needs a look", slog.String("note", note))
	}
	s.in.count.done(outcome, s.door.options.Clock().Sub(start))
	return nil
}

// Behind says how far a part of what is fetched is behind the newest there is;
// the metrics show the farthest. A negative span says that this process does
// not fetch the part any more.
func (s *Sink) Behind(part string, by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.behind == nil {
		s.behind = map[string]time.Duration{}
	}
	s.behind[part] = by
	if by < 0 {
		delete(s.behind, part)
	}
	var farthest time.Duration
	for _, d := range s.behind {
		farthest = max(farthest, d)
	}
	s.in.count.behind.Set(farthest.Seconds())
}

// records renders a batch for the log.
func records(integration, dedupe string, b *series.Batch) []series.Record {
	key := integration + "/" + dedupeKey(dedupe)
	parts := b.Parts()
	out := make([]series.Record, len(parts))
	for i, body := range parts {
		out[i] = series.Record{Kind: series.Samples, Dedupe: key, Body: body}
		if i > 0 { // equal deliveries have equal parts
			out[i].Dedupe = fmt.Sprintf("%s/%d", key, i)
		}
	}
	return out
}

// appendRecords returns once the records are durable.
func (d *Door) appendRecords(ctx context.Context, r []series.Record) error {
	ctx, cancel := context.WithTimeout(ctx, d.options.Limits.Append)
	defer cancel()
	failpoint.Hit("intake.samples.before")
	_, err := d.options.Samples.Append(ctx, r...)
	failpoint.Hit("intake.samples.after")
	return err
}
