package intake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"

	"golang.org/x/time/rate"

	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/lease"
	"github.com/fettleops/fettle/series"
)

// Integration is one configured sender.
type Integration struct {
	// Name is the last part of the URL.
	Name string
	// Source is the name of a driver.
	Source string
	// Auth is decoded into an AuthConfig.
	Auth Decoder
	// Options are decoded by the driver; nil is none.
	Options Decoder
	// Redact lists JSON pointers of personal fields in payloads; `*` stands for
	// every element.
	Redact []string
}

// Options are what a door is made of.
type Options struct {
	DB           *db.DB
	Log          Log
	Samples      series.Log // where the samples of Speakers go; nil refuses their integrations
	Drivers      []Driver
	Integrations []Integration
	Limits       Limits
	Clock        clock.Clock
	Logger       *slog.Logger
	Metrics      *Metrics
	Secret       SecretFunc
	Fetch        Fetcher
	// Parameter reads parameters, for sources that are asked; nil: nobody can.
	Parameter ParameterFunc
	// Leases returns the table of a scope, Holder names this process among all
	// that share it, and Transport is the network, nil for each client library's
	// own: what integrations that fetch need.
	Leases    func(scope string) lease.Table
	Holder    string
	Transport http.RoundTripper
	// LoopbackDemo says that this is a demo whose listener is on loopback, the
	// only place for an integration without authentication.
	LoopbackDemo bool
}

type builder struct{ Options }

// Check says what is wrong with an integration, all of it at once and without
// I/O: what its auth is worth shows only when its secrets are resolved. It does
// not look whether the driver is known to whoever opens the door.
func Check(driver Driver, c Integration) error {
	options := c.Options
	if options == nil {
		options = Nothing{}
	}
	if driver.Pull != nil {
		if _, err := driver.Pull(options, PullEnv{Integration: c.Name, Log: slog.New(slog.DiscardHandler)}); err != nil {
			return fmt.Errorf("options: %w", err)
		}
		return nil
	}
	_, err := decodeAuth(c.Auth)
	_, redact := parsePointers(c.Redact)
	_, opened := driver.Open(options, Env{Integration: c.Name, Log: slog.New(slog.DiscardHandler)})
	if opened != nil {
		opened = fmt.Errorf("options: %w", opened)
	}
	return errors.Join(err, redact, opened)
}

// Open builds a door. It resolves secrets and decodes every integration; the
// error holds all that is wrong with any of them. Drivers are looked up by
// name and never by order.
func Open(ctx context.Context, o Options) (*Door, error) {
	o.Limits.defaults()
	o.Logger = o.Logger.With(slog.String("room", "intake"))
	b := &builder{o}
	d := &Door{
		options:      o,
		integrations: map[string]*integration{},
		chatter:      rate.NewLimiter(5, 50),
	}
	var errs []error
	seen := map[string]bool{}
	for _, c := range o.Integrations {
		if err := b.add(ctx, d, c); err != nil {
			errs = append(errs, fmt.Errorf("integration %s: %w", c.Name, err))
			continue
		}
		if seen[c.Name] {
			errs = append(errs, fmt.Errorf("integration %s: %w", c.Name, &Fault{Field: "name", Value: c.Name, Fix: "give each integration a name of its own"}))
		}
		seen[c.Name] = true
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	read := func() int64 {
		n, err := o.Log.SignalDepth(context.Background())
		if err != nil {
			return d.depth.known.Load()
		}
		return n
	}
	o.Metrics.depth.Store(&read)
	return d, nil
}

// add adds an integration to the door.
func (b *builder) add(ctx context.Context, d *Door, c Integration) error {
	in := &integration{name: c.Name, source: c.Source, log: b.Logger.With(slog.String("integration", c.Name))}
	if driver, err := b.driver(c); err == nil && driver.Pull != nil {
		in.count = b.Metrics.of(c.Name)
		in.count.behind = b.Metrics.behind.WithLabelValues(c.Name)
		p, err := b.pull(c, driver, in.log, &Sink{door: d, in: in})
		if err != nil {
			return err
		}
		d.pulls = append(d.pulls, &Pull{Integration: c.Name, puller: p, clock: b.Clock, log: in.log})
		return nil
	}
	if err := b.integration(ctx, in, c); err != nil {
		return err
	}
	d.integrations[c.Name] = in
	return nil
}

func (b *builder) integration(ctx context.Context, in *integration, c Integration) error {
	var errs []error
	auth, err := decodeAuth(c.Auth)
	if err != nil {
		errs = append(errs, err)
	} else {
		proofs, err := b.proofs(ctx, auth)
		if err != nil {
			errs = append(errs, err)
		}
		in.admit(proofs)
	}
	if in.redact, err = parsePointers(c.Redact); err != nil {
		errs = append(errs, err)
	}
	if in.decoder, err = b.source(c, in.log); err != nil {
		errs = append(errs, err)
	} else {
		in.agree(b.Limits)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	in.count = b.Metrics.of(c.Name)
	return nil
}

func (in *integration) admit(proofs []proof) {
	for _, p := range proofs {
		in.passed = append(in.passed, p.name)
		if p.accounts != nil {
			in.accounts = p.accounts
		}
		if p.head != nil {
			in.head = append(in.head, p)
		} else {
			in.body = append(in.body, p)
		}
		if p.challenge != "" && !slices.Contains(in.challenge, p.challenge) {
			in.challenge = append(in.challenge, p.challenge)
		}
	}
}

// agree settles on what the integration's senders may send.
func (in *integration) agree(l Limits) {
	in.terms = Terms{Codings: []string{"gzip", "deflate"}}
	if s, ok := in.decoder.(Speaker); ok {
		in.speaker, in.terms = s, s.Terms()
	} else if t, ok := in.decoder.(Termed); ok {
		own := t.Terms()
		in.terms.Paths, in.terms.Body, in.terms.Decompressed = own.Paths, own.Body, own.Decompressed
	}
	if len(in.terms.Paths) == 0 {
		in.terms.Paths = []string{""}
	}
	if in.terms.Body <= 0 {
		in.terms.Body = l.Body
	}
	if in.terms.Decompressed <= 0 {
		in.terms.Decompressed = l.Decompressed
	}
}

// metric refuses what an integration of a metric source cannot have.
func (b *builder) metric(c Integration, s Speaker) error {
	if b.Samples == nil {
		return &Fault{Field: "source", Value: c.Source, Fix: "remove the integration: this server keeps no sample log, so it cannot take metrics"}
	}
	for _, m := range s.Terms().Media {
		if len(c.Redact) > 0 && !isJSON(m) {
			return &Fault{Field: "redact", Value: c.Redact[0], Fix: "remove it and leave personal labels out at the sender: JSON pointers do not reach into " + m}
		}
	}
	return nil
}

func decodeAuth(d Decoder) (AuthConfig, error) {
	var c AuthConfig
	if d == nil {
		return c, nil
	}
	if err := d.Decode(&c); err != nil {
		return c, fmt.Errorf("auth: %w", err)
	}
	return c, nil
}

func (b *builder) source(c Integration, log *slog.Logger) (Source, error) {
	d, err := b.driver(c)
	if err != nil {
		return nil, err
	}
	options := c.Options
	if options == nil {
		options = Nothing{}
	}
	s, err := d.Open(options, Env{Integration: c.Name, Clock: b.Clock, Log: log, Fetch: b.Fetch, Secret: b.Secret, Transport: b.Transport, Parameter: b.Parameter})
	if err != nil {
		return nil, fmt.Errorf("options: %w", err)
	}
	if speaker, ok := s.(Speaker); ok {
		return s, b.metric(c, speaker)
	}
	return s, nil
}

// Nothing is the Decoder of options that were not written.
type Nothing struct{}

// Decode leaves v as it is.
func (Nothing) Decode(any) error { return nil }
