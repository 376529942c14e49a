// Package notifytest is the specification of a channel: rules that every
// driver keeps, each with the reason it exists, which a failure prints. The
// receiver is a small real server on loopback that can be told to misbehave.
package notifytest

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/fettleops/fettle/internal/redact"
	"github.com/fettleops/fettle/internal/secret"
	"github.com/fettleops/fettle/internal/strictyaml"
	"github.com/fettleops/fettle/notify"
	"github.com/fettleops/fettle/ops"
)

var update = flag.Bool("update", false, "write the golden files")

// Fault is a way to misbehave.
type Fault string

// The faults.
const (
	None     Fault = ""
	Throttle Fault = "throttle" // asks for patience, for 7 seconds where the protocol can say so
	Broken   Fault = "broken"   // says that it failed
	Refuse   Fault = "refuse"   // says that the message is wrong
	Deny     Fault = "deny"     // says that the credential is wrong
	Page     Fault = "page"     // is no receiver: success with a page, as a proxy or a login in between gives
	Empty    Fault = "empty"    // success, and nothing of what the protocol says
	Cut      Fault = "cut"      // takes the whole message and hangs up
	Mute     Fault = "mute"     // takes the whole message and says nothing
	Redirect Fault = "redirect" // sends it elsewhere
)

// Receiver is what a channel brings messages to.
type Receiver interface {
	// Config is the channel's part of the configuration for this receiver, YAML
	// in braces.
	// Secrets in it are references to file:/secret/NAME.
	Config() string
	// Secrets are the values of those, by NAME.
	Secrets() map[string]string
	// Do sets how it behaves from now on. What it says quotes what it got, with
	// every secret in it.
	Do(f Fault)
	// Got returns every message it has taken, as it came.
	Got() [][]byte
	// Elsewhere counts what came to where Redirect leads.
	Elsewhere() int
	// Close stops listening.
	Close()
}

// Harness is a driver under test.
type Harness struct {
	Driver notify.Driver
	// Start starts a receiver that ends with the test.
	Start func(t *testing.T) Receiver
	// Check says what is wrong with a message that was taken, by the rules of
	// the platform.
	Check func(got []byte) error
	// ID returns the id by which the receiver recognises a message; needed where
	// the driver says Repeats.
	ID func(got []byte) string
	// Says returns the texts that people or programs read in a message.
	Says func(got []byte) string
	// Skip names the faults that the protocol does not know, with the reason.
	Skip map[Fault]string
	// Defaults says why a configuration without any key is enough, where it is.
	Defaults string
	// Golden, where set, is the folder of golden files; Scrub takes out of a
	// message what differs from run to run.
	Golden string
	Scrub  func(got []byte) []byte
}

// rule is one thing a channel promises.
type rule struct {
	name, why string
	check     func(t *testing.T, b *bench)
}

var rules = []rule{
	{"taken", "a message that the receiver took, and only that, is success; what it looks like is looked at by a person when it changes", taken},
	{"digest", "a digest that does not list what was held back drops it", digest},
	{"throttled", "a receiver that asks for patience and is asked again at once locks the sender out", throttled},
	{"broken", "a receiver that failed has not taken the message; giving up loses it", broken},
	{"refused", "a message that is wrong stays wrong; trying on hides that a person must mend it", refused},
	{"denied", "a credential that is wrong stays wrong", denied},
	{"page", "a login page with status 200 is not a receiver, and the message is lost behind it", page},
	{"empty", "where the protocol answers, silence is not its answer", empty},
	{"cut", "after a whole message and no answer nobody knows whether it arrived, and the room must hear so", cut},
	{"mute", "a receiver that never answers must not hold a worker for ever", mute},
	{"gone", "a message that certainly was not sent can be sent again without doubt", gone},
	{"redirect", "a redirect carries the message and its credentials to whom nobody configured", redirect},
	{"secret", "an address or a token in a log or an error is a token in everybody's hands", secrets},
	{"long", "a text that is too long for the channel must be cut between characters, or all of it is refused for ever", long},
	{"hostile", "titles come from senders nobody controls: they must not break the message, mention people or add headers", hostile},
	{"repeat", "a repeat that the receiver cannot recognise tells people the same twice", repeat},
	{"ended", "a server that stops must not begin to send", ended},
	{"unknown key", "a key that is spelled wrongly and ignored is a setting people believe in", unknownKey},
	{"plain secret", "a secret in the configuration file is in every copy of it", plainSecret},
}

// Run holds a driver against every rule.
func Run(t *testing.T, h Harness) {
	t.Helper()
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				if t.Failed() {
					t.Logf("why this rule: %s", r.why)
				}
			}()
			b := &bench{Harness: h, receiver: h.Start(t), logs: &book{}}
			b.channel = b.open(t, b.receiver.Config())
			r.check(t, b)
		})
	}
}

type bench struct {
	Harness
	receiver Receiver
	channel  notify.Channel
	logs     *book
}

// Epoch is the time on the clock of every test.
var Epoch = time.Date(2026, 11, 22, 2, 0, 0, 0, time.UTC)

// Env is what channels in tests live on.
func Env(secrets map[string]string, log *slog.Logger) notify.Env {
	return notify.Env{
		Name: "test", Source: "https://fettle.example", UserAgent: "fettle/test", Clock: func() time.Time { return Epoch }, Log: log,
		Secret: func(_ context.Context, r secret.Ref) (redact.Secret, error) {
			v, ok := secrets[strings.TrimPrefix(r.Name, "/secret/")]
			if !ok {
				return redact.Secret{}, errors.New("there is no secret " + r.String())
			}
			return redact.New(v), nil
		},
	}
}

// Decode reads YAML as the configuration is read.
func Decode(text string) notify.Decode {
	return func(into any) error {
		raw, faults := strictyaml.Parse("test.yaml", []byte(text))
		if err := faults.Err(); err != nil {
			return err
		}
		return raw.Decode(into)
	}
}

func (b *bench) open(t *testing.T, config string) notify.Channel {
	t.Helper()
	log := slog.New(slog.NewJSONHandler(b.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	ch, err := b.Driver.Open(t.Context(), Decode(config), Env(b.receiver.Secrets(), log))
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

// book keeps what was logged.
type book struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *book) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// Message is one as the room makes it.
func Message() notify.Message {
	return notify.Message{ID: "0199d3a0-7b1e-7c3a-9f00-0123456789ab", Notice: ops.Notice{
		Event: "change.approval_asked", Severity: ops.Medium, At: Epoch.Add(-time.Minute), Subject: "change/0199d3a0-0000-7000-8000-000000000001", Key: "CHG-42",
		Title: "CHG-42 waits for approval: resize web-1 from m5.xlarge to m5.large", What: "Plan 0123456789ab, revision 1:\n~ InstanceType: m5.xlarge -> m5.large",
		Why: "1 × application-owner must approve, by rule 2", Resource: "web-1", Team: "Shop", Link: "https://fettle.example/changes/CHG-42",
		Tickets: []ops.NoticeTicket{{Platform: "snow", Display: "CHG0030042", URL: "https://acme.service-now.com/nav_to.do?uri=change_request.do%3Fsys_id=1&x=2"}},
		Fact:    "0199d3a0-0000-7000-8000-0000000000f1", Kind: ops.ApprovalRequested,
	}}
}

// Digest is one as the room makes it.
func Digest() notify.Message {
	m := notify.Message{ID: "0199d3a0-7b1e-7c3a-9f00-0123456789cd", Notice: ops.Notice{
		Event: "digest", Severity: ops.High, At: Epoch, Subject: ops.SystemSubject, Title: "3 notifications were held back", Link: "https://fettle.example",
	}}
	for i, title := range []string{"INC-7 opened: disk is full on db-1", "INC-8 opened: no answer from shop <prod> & co", "CHG-9 failed: restart shop"} {
		m.Held = append(m.Held, ops.HeldNotice{Event: "incident.opened", At: Epoch.Add(time.Duration(i-30) * time.Minute), Title: title, Unsure: i == 2})
	}
	return m
}

// send sends with the patience of a test.
func (b *bench) send(t *testing.T, m notify.Message) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return b.channel.Send(ctx, m)
}

// one sends a message that must be taken, and returns it as it came.
func (b *bench) one(t *testing.T, m notify.Message) []byte {
	t.Helper()
	before := len(b.receiver.Got())
	if err := b.send(t, m); err != nil {
		t.Fatal(err)
	}
	got := b.receiver.Got()
	if len(got) != before+1 {
		t.Fatalf("the receiver has taken %d messages, want 1", len(got)-before)
	}
	if err := b.Check(got[before]); err != nil {
		t.Fatalf("the message is not valid: %v\n%.2000s", err, got[before])
	}
	return got[before]
}

func (b *bench) golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if b.Golden == "" {
		return
	}
	if b.Scrub != nil {
		got = b.Scrub(got)
	}
	path := filepath.Join(b.Golden, name)
	if *update {
		if err := os.MkdirAll(b.Golden, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what was sent; run the test with -update and look at the difference:\n%s", path, got)
	}
}

func taken(t *testing.T, b *bench) {
	got := b.one(t, Message())
	for _, want := range []string{"CHG-42 waits for approval", "m5.xlarge -> m5.large", "application-owner must approve", "https://fettle.example/changes/CHG-42", "CHG0030042"} {
		if !strings.Contains(b.Says(got), want) {
			t.Errorf("the message does not say %q:\n%s", want, b.Says(got))
		}
	}
	b.golden(t, "message.golden", got)
}

func digest(t *testing.T, b *bench) {
	got := b.one(t, Digest())
	for _, h := range Digest().Held {
		if !strings.Contains(b.Says(got), h.Title) {
			t.Errorf("the digest does not list %q:\n%s", h.Title, b.Says(got))
		}
	}
	b.golden(t, "digest.golden", got)
}

// fails wants a class of error for a fault, and nothing taken.
func (b *bench) fails(t *testing.T, f Fault, class error, unknown bool) error {
	t.Helper()
	if why := b.Skip[f]; why != "" {
		t.Skip(why)
	}
	b.receiver.Do(f)
	err := b.send(t, Message())
	var u *ops.UnknownOutcome
	if !errors.Is(err, class) || errors.As(err, &u) != unknown {
		t.Errorf("%s: got %v, want class %v and an outcome unknown %v", f, err, class, unknown)
	}
	b.receiver.Do(None)
	b.one(t, Message())
	return err
}

func throttled(t *testing.T, b *bench) {
	err := b.fails(t, Throttle, ops.ErrThrottled, false)
	if after := ops.RetryAfter(err); after != 0 && after != 7*time.Second {
		t.Errorf("the receiver asked for 7s, the error says %s", after)
	}
}

func broken(t *testing.T, b *bench) { b.fails(t, Broken, ops.ErrUnavailable, false) }

func refused(t *testing.T, b *bench) {
	err := b.fails(t, Refuse, ops.ErrInvalid, false)
	if err != nil && !strings.Contains(err.Error(), "wrong_thing") {
		t.Errorf("the error does not say what the receiver said, wrong_thing: %v", err)
	}
}

func denied(t *testing.T, b *bench) { b.fails(t, Deny, ops.ErrDenied, false) }

func page(t *testing.T, b *bench) {
	if why := b.Skip[Page]; why != "" {
		t.Skip(why)
	}
	b.receiver.Do(Page)
	if err := b.send(t, Message()); !errors.Is(err, ops.ErrUnavailable) {
		t.Errorf("a page for an answer: %v", err)
	}
}

func empty(t *testing.T, b *bench) {
	if why := b.Skip[Empty]; why != "" {
		t.Skip(why)
	}
	b.receiver.Do(Empty)
	if err := b.send(t, Message()); !errors.Is(err, ops.ErrUnavailable) {
		t.Errorf("nothing for an answer: %v", err)
	}
}

func cut(t *testing.T, b *bench) { b.fails(t, Cut, ops.ErrUnavailable, true) }

func mute(t *testing.T, b *bench) {
	b.receiver.Do(Mute)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- b.channel.Send(ctx, Message()) }()
	select {
	case err := <-done:
		var u *ops.UnknownOutcome
		if !errors.Is(err, ops.ErrUnavailable) || !errors.As(err, &u) {
			t.Errorf("no answer: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("Send outlives its context")
	}
}

func gone(t *testing.T, b *bench) {
	b.receiver.Close()
	err := b.send(t, Message())
	var u *ops.UnknownOutcome
	if !errors.Is(err, ops.ErrUnavailable) || errors.As(err, &u) {
		t.Errorf("nobody listens: %v", err)
	}
}

func redirect(t *testing.T, b *bench) {
	if why := b.Skip[Redirect]; why != "" {
		t.Skip(why)
	}
	b.receiver.Do(Redirect)
	err := b.send(t, Message())
	if err == nil || b.receiver.Elsewhere() != 0 {
		t.Errorf("a redirect: %v, and %d messages went elsewhere", err, b.receiver.Elsewhere())
	}
}

func secrets(t *testing.T, b *bench) {
	var said []string
	for _, f := range []Fault{None, Throttle, Broken, Refuse, Deny, Page, Cut, Redirect} {
		if b.Skip[f] != "" {
			continue
		}
		b.receiver.Do(f)
		if err := b.send(t, Message()); err != nil {
			said = append(said, err.Error())
		}
	}
	b.receiver.Close()
	said = append(said, b.send(t, Message()).Error(), b.logs.String())
	for _, s := range said {
		for name, v := range b.receiver.Secrets() {
			for _, part := range append(strings.Split(v, "/"), v) {
				// What of an address is a secret is its path; the host may be said.
				if len(part) > 9 && !strings.Contains(part, ".") && !strings.Contains(part, ":") && strings.Contains(s, part) {
					t.Errorf("the secret %s is told: %s", name, s)
				}
			}
		}
	}
}

func long(t *testing.T, b *bench) {
	m := Message()
	m.Title = "CHG-42 " + strings.Repeat("数据库", 2000)
	m.What = strings.Repeat("~ größe: 四 -> 二 🚀\n", 20_000)
	m.Why = strings.Repeat("weil 🚀 & <so> ", 20_000)
	m.Resource = strings.Repeat("r", 5000)
	got := b.one(t, m)
	if !utf8.ValidString(b.Says(got)) || strings.Contains(b.Says(got), "\uFFFD") {
		t.Errorf("a character was cut in two: %q", b.Says(got)[:200])
	}
	if !strings.Contains(b.Says(got), "CHG-42") || !strings.Contains(b.Says(got), "changes/CHG-42") {
		t.Errorf("what was cut is the number or the link: %.300s", b.Says(got))
	}
	d := Digest()
	for range 2000 {
		d.Held = append(d.Held, d.Held[0])
	}
	if got := b.one(t, d); !strings.Contains(b.Says(got), "INC-7 opened") {
		t.Errorf("a long digest lists nothing: %.300s", b.Says(got))
	}
}

func hostile(t *testing.T, b *bench) {
	m := Message()
	m.Title = "x\r\nBcc: eve@example.com\r\n\r\n<!channel> *b* <script>alert(1)</script> \x00\x1b[31m \xff [a](javascript:x) \u2028 & | end"
	m.What = "\r\n.\r\nMAIL FROM:<eve@example.com>\r\n{\"a\":\"b\"}\x00\xff</p><h1>" + "`code` _x_ # y"
	m.Why, m.Resource, m.Team = m.Title, m.Title, m.Title
	m.Tickets[0].Display = m.Title
	b.one(t, m)
}

func repeat(t *testing.T, b *bench) {
	if !b.Driver.Traits.Repeats {
		t.Skip("the receiver recognises nothing, and the room does not repeat")
	}
	first, second := b.one(t, Message()), b.one(t, Message())
	other := b.one(t, Digest())
	if b.ID(first) == "" || b.ID(first) != b.ID(second) || b.ID(first) == b.ID(other) {
		t.Errorf("ids %q and %q of one message, %q of another", b.ID(first), b.ID(second), b.ID(other))
	}
}

func ended(t *testing.T, b *bench) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.channel.Send(ctx, Message()); err == nil || len(b.receiver.Got()) != 0 {
		t.Errorf("a context that has ended: %v, %d messages taken", err, len(b.receiver.Got()))
	}
}

func unknownKey(t *testing.T, b *bench) {
	err := b.Driver.Check(Decode(strings.TrimSuffix(b.receiver.Config(), "}") + ", spelled_wrongly: 1}"))
	if !errors.Is(err, ops.ErrInvalid) || !strings.Contains(err.Error(), "spelled_wrongly") {
		t.Errorf("an unknown key: %v", err)
	}
	if err := b.Driver.Check(Decode("{}")); !errors.Is(err, ops.ErrInvalid) && b.Defaults == "" {
		t.Errorf("nothing configured: %v", err)
	}
	if err := b.Driver.Check(Decode(b.receiver.Config())); err != nil {
		t.Error(err)
	}
}

func plainSecret(t *testing.T, b *bench) {
	for name := range b.receiver.Secrets() {
		const plain = "very-secret-value"
		config := strings.Replace(b.receiver.Config(), "file:/secret/"+name, plain, 1)
		err := b.Driver.Check(Decode(config))
		if !errors.Is(err, ops.ErrInvalid) || strings.Contains(err.Error(), plain) {
			t.Errorf("%s written plainly: %v", name, err)
		}
	}
}
