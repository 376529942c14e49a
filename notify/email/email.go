// Package email sends mail through an SMTP server, with STARTTLS or TLS from
// the first byte, and signs in where the server wants it.
package email

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/internal/failpoint"
	"github.com/fettleops/fettle/internal/redact"
	"github.com/fettleops/fettle/internal/secret"
	"github.com/fettleops/fettle/notify"
	"github.com/fettleops/fettle/ops"
)

// Driver sends mail. A repeated mail has the same Message-ID, which is what
// RFC 5321 (4.5.3.2.6) leaves to receivers to recognise: a mail whose outcome
// is unknown is sent again, as every mail server does.
var Driver = notify.Define("email", notify.Traits{Repeats: true, PerHour: 20}, Open)

// Config says through which server, from whom and to whom.
type Config struct {
	Server   string        `yaml:"server,required"`                   // host:port, such as smtp.example.com:587
	TLS      string        `yaml:"tls" enum:"starttls,implicit,none"` // default implicit on port 465, else starttls; none sends in the clear
	CA       secret.Ref    `yaml:"ca"`                                // certificates that vouch for the server, in PEM; default: the system's
	Username string        `yaml:"username"`                          // default: none, nobody signs in
	Password secret.Ref    `yaml:"password"`
	Auth     string        `yaml:"auth" enum:"plain,login"` // default: plain, or login where the server offers only that
	From     string        `yaml:"from,required"`           // such as Fettle <fettle@example.com>
	To       []string      `yaml:"to,required"`
	Hello    string        `yaml:"hello"`   // name this machine gives; default localhost
	Timeout  time.Duration `yaml:"timeout"` // of one attempt; default 30s
}

// Defaults marks the certificates as no secret.
func (c *Config) Defaults() { c.CA.Public = true }

// Validate fills in the defaults and returns every fault.
func (c *Config) Validate() error {
	host, port, err := net.SplitHostPort(c.Server)
	var faults []error
	if err != nil || host == "" {
		faults = append(faults, fmt.Errorf("server %q: write host:port, such as smtp.example.com:587", c.Server))
	}
	if c.TLS == "" {
		c.TLS = "starttls"
		if port == "465" {
			c.TLS = "implicit"
		}
	}
	if c.Hello == "" {
		c.Hello = "localhost"
	}
	if strings.ContainsAny(c.Hello, " \r\n") {
		faults = append(faults, fmt.Errorf("hello %q: write a host name", c.Hello))
	}
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	if c.Timeout < 0 {
		faults = append(faults, errors.New("timeout must not be negative"))
	}
	if (c.Username == "") != c.Password.IsZero() {
		faults = append(faults, errors.New("username and password belong together"))
	}
	if c.TLS == "none" && c.Username != "" {
		faults = append(faults, errors.New("tls: none would send the password in the clear; use starttls or implicit"))
	}
	if _, err := mail.ParseAddress(c.From); err != nil {
		faults = append(faults, fmt.Errorf("from %q: write an address such as Fettle <fettle@example.com>", c.From))
	}
	if len(c.To) == 0 {
		faults = append(faults, errors.New("to is empty; write at least one address"))
	}
	for i, to := range c.To {
		if _, err := mail.ParseAddress(to); err != nil {
			faults = append(faults, fmt.Errorf("to[%d] %q: write an address such as team@example.com", i, to))
		}
	}
	return errors.Join(faults...)
}

type channel struct {
	c    Config
	env  notify.Env
	host string
	from *mail.Address
	to   []*mail.Address
}

// Open returns the channel. It calls nobody.
func Open(_ context.Context, c Config, env notify.Env) (notify.Channel, error) {
	ch := &channel{c: c, env: env}
	var err error
	if ch.host, _, err = net.SplitHostPort(c.Server); err != nil {
		return nil, fmt.Errorf("email: server: %w: %w", err, ops.ErrInvalid)
	}
	if ch.from, err = mail.ParseAddress(c.From); err != nil {
		return nil, fmt.Errorf("email: from: %w: %w", err, ops.ErrInvalid)
	}
	for _, s := range c.To {
		a, err := mail.ParseAddress(s)
		if err != nil {
			return nil, fmt.Errorf("email: to: %w: %w", err, ops.ErrInvalid)
		}
		ch.to = append(ch.to, a)
	}
	return ch, nil
}

// Send implements notify.Channel.
func (ch *channel) Send(ctx context.Context, m notify.Message) error {
	var password redact.Secret
	if ch.c.Username != "" {
		var err error
		if password, err = ch.env.Secret(ctx, ch.c.Password); err != nil {
			return fmt.Errorf("email: %w: %w", err, ops.ErrUnavailable)
		}
	}
	body, err := ch.render(m)
	if err != nil {
		return fmt.Errorf("email: %w: %w", err, ops.ErrInternal)
	}
	ctx, cancel := context.WithTimeout(ctx, ch.c.Timeout)
	defer cancel()
	failpoint.Hit("notify.email.before")
	said, err := ch.transmit(ctx, password, body)
	failpoint.Hit("notify.email.after")
	if err == nil {
		return nil
	}
	text := redact.Text(notify.Cut(notify.OneLine(err.Error()), 400), secrets(ch.c.Username, password)...)
	out := fmt.Errorf("email: %s: %s: %s: %w", ch.c.Server, said, text, class(err))
	if said == ending && errors.Is(out, ops.ErrUnavailable) && !errors.As(err, new(*textproto.Error)) {
		return &ops.UnknownOutcome{Err: out}
	}
	return out
}

// secrets are the forms a password takes on the way.
func secrets(username string, password redact.Secret) []redact.Secret {
	if password.IsZero() {
		return nil
	}
	return []redact.Secret{password, redact.New(encode("\x00" + username + "\x00" + password.Reveal())), redact.New(encode(password.Reveal()))}
}

// class sorts what a server answers: 4yz may pass, 5yz will not (RFC 5321, 4.2.1).
func class(err error) error {
	var answer *textproto.Error
	var unknown *tls.CertificateVerificationError
	switch {
	case errors.As(err, &unknown), errors.Is(err, errPlain):
		return ops.ErrDenied
	case !errors.As(err, &answer):
		return ops.ErrUnavailable
	case answer.Code == 421 || answer.Code/100 == 4:
		return ops.ErrUnavailable
	case answer.Code == 530 || answer.Code == 534 || answer.Code == 535 || answer.Code == 538:
		return ops.ErrDenied
	}
	return ops.ErrInvalid
}

// errPlain: the server would see the password, or the mail, in the clear.
var errPlain = errors.New("the server offers no STARTTLS; nothing is sent in the clear unless tls is none")

// ending is the step after which the mail may have been taken.
const ending = "end of the mail"

// transmit speaks SMTP. It returns the step it had come to.
func (ch *channel) transmit(ctx context.Context, password redact.Secret, body []byte) (step string, err error) {
	c, step, err := ch.connect(ctx)
	if err != nil {
		return step, err
	}
	defer c.Close()
	if ch.c.Username != "" {
		if err := c.Auth(ch.auth(c, password)); err != nil {
			return "sign in", err
		}
	}
	if err := c.Mail(ch.from.Address); err != nil {
		return "sender", err
	}
	if step, err := ch.recipients(ctx, c); err != nil {
		return step, err
	}
	w, err := c.Data()
	if err != nil {
		return "mail", err
	}
	if _, err := io.Copy(w, strings.NewReader(string(body))); err != nil {
		return "mail", err
	}
	if err := w.Close(); err != nil {
		return ending, err
	}
	_ = c.Quit() // it is taken, whatever the server says to this
	return "", nil
}

// recipients names them. One that is refused for good does not keep the mail
// from the others; one that may be taken later makes all wait, or some would
// get it twice.
func (ch *channel) recipients(ctx context.Context, c *smtp.Client) (string, error) {
	var refused error
	taken := 0
	for _, to := range ch.to {
		err := c.Rcpt(to.Address)
		switch {
		case err == nil:
			taken++
		case !errors.Is(class(err), ops.ErrInvalid):
			return "recipient " + to.Address, err
		default:
			refused = err
			ch.env.Log.LogAttrs(ctx, slog.LevelWarn, "recipient refused", slog.String("recipient", to.Address), slog.Any("error", err))
		}
	}
	if taken == 0 {
		return "every recipient", refused
	}
	return "", nil
}

// connect opens a connection that is as safe as it is configured to be.
func (ch *channel) connect(ctx context.Context) (c *smtp.Client, step string, err error) {
	dial := ch.env.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	secure, err := ch.tls(ctx)
	if err != nil {
		return nil, "certificates", err
	}
	conn, err := dial(ctx, "tcp", ch.c.Server)
	if err != nil {
		return nil, "connect", err
	}
	if at, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(at); err != nil {
			return nil, "connect", errors.Join(err, conn.Close())
		}
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	if ch.c.TLS == "implicit" {
		conn = tls.Client(conn, secure)
	}
	c, err = smtp.NewClient(conn, ch.host)
	if err != nil {
		return nil, "greeting", errors.Join(err, conn.Close())
	}
	if err := c.Hello(ch.c.Hello); err != nil {
		return nil, "greeting", errors.Join(err, c.Close())
	}
	if ch.c.TLS != "starttls" {
		return c, "", nil
	}
	if ok, _ := c.Extension("STARTTLS"); !ok {
		return nil, "STARTTLS", errors.Join(errPlain, c.Close())
	}
	if err := c.StartTLS(secure); err != nil {
		return nil, "STARTTLS", errors.Join(err, c.Close())
	}
	return c, "", nil
}

func (ch *channel) tls(ctx context.Context) (*tls.Config, error) {
	out := &tls.Config{ServerName: ch.host, MinVersion: tls.VersionTLS12}
	if ch.c.CA.IsZero() {
		return out, nil
	}
	pem, err := ch.env.Secret(ctx, ch.c.CA)
	if err != nil {
		return nil, err
	}
	out.RootCAs = x509.NewCertPool()
	if !out.RootCAs.AppendCertsFromPEM([]byte(pem.Reveal())) {
		return nil, fmt.Errorf("ca %s holds no certificate in PEM", ch.c.CA)
	}
	return out, nil
}

// auth chooses how to sign in.
func (ch *channel) auth(c *smtp.Client, password redact.Secret) smtp.Auth {
	_, offered := c.Extension("AUTH")
	words := strings.Fields(strings.ToUpper(offered))
	if ch.c.Auth == "login" || ch.c.Auth == "" && !slices.Contains(words, "PLAIN") && slices.Contains(words, "LOGIN") {
		return &login{username: ch.c.Username, password: password}
	}
	return smtp.PlainAuth("", ch.c.Username, password.Reveal(), ch.host)
}

// login is AUTH LOGIN, which many servers offer alone.
type login struct {
	username string
	password redact.Secret
	asked    int
}

// Start implements smtp.Auth.
func (l *login) Start(s *smtp.ServerInfo) (string, []byte, error) {
	if !s.TLS {
		return "", nil, errPlain
	}
	return "LOGIN", nil, nil
}

// Next implements smtp.Auth: the server asks for the name and then for the password.
func (l *login) Next(_ []byte, more bool) ([]byte, error) {
	if !more {
		return nil, nil
	}
	l.asked++
	switch l.asked {
	case 1:
		return []byte(l.username), nil
	case 2:
		return []byte(l.password.Reveal()), nil
	}
	return nil, errors.New("the server asks for more than a name and a password")
}
