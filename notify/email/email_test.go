package email_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"mime/multipart"
	"net/mail"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/fettleops/fettle/notify/email"
	"github.com/fettleops/fettle/notify/email/emailtest"
	"github.com/fettleops/fettle/notify/notifytest"
	"github.com/fettleops/fettle/ops"
)

const password = "mail-password-0123456789"

// receiver plays the mail server for the rules of notifytest.
type receiver struct{ *emailtest.Server }

func (r receiver) Config() string {
	return fmt.Sprintf(`{server: "%s", ca: "file:/secret/ca", username: fettle, password: "file:/secret/password", from: "Fettle <fettle@example.com>", to: [team@example.com, "Ann <ann@example.com>"]}`, r.Address)
}

func (r receiver) Secrets() map[string]string {
	return map[string]string{"password": password, "ca": r.CA}
}
func (receiver) Elsewhere() int { return 0 }

func (r receiver) Do(f notifytest.Fault) {
	r.Behave()
	switch f {
	case notifytest.Broken:
		r.Answer(".", "451 4.3.0 a problem here "+password)
	case notifytest.Refuse:
		r.Answer(".", "554 5.6.0 wrong_thing "+password)
	case notifytest.Deny:
		r.Answer("AUTH", "535 5.7.8 not with "+password)
	case notifytest.Cut:
		r.Answer(".", "")
	case notifytest.Mute:
		r.Mute()
	case notifytest.Page:
		r.Answer("EHLO", "HTTP/1.1 200 OK")
		r.Answer("HELO", "HTTP/1.1 200 OK")
	}
}

func (r receiver) Got() [][]byte {
	var out [][]byte
	for _, m := range r.Mails() {
		out = append(out, []byte(m.Data))
	}
	return out
}

// parse reads a mail with the standard library's parsers.
func parse(got []byte) (m *mail.Message, text, page string, err error) {
	if m, err = mail.ReadMessage(strings.NewReader(string(got))); err != nil {
		return nil, "", "", err
	}
	_, p, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		return nil, "", "", err
	}
	r := multipart.NewReader(m.Body, p["boundary"])
	for _, into := range []*string{&text, &page} {
		part, err := r.NextPart()
		if err != nil {
			return nil, "", "", err
		}
		b, err := io.ReadAll(part)
		if err != nil {
			return nil, "", "", err
		}
		*into = strings.ReplaceAll(string(b), "\r\n", "\n")
	}
	_, err = r.NextPart()
	if !errors.Is(err, io.EOF) {
		return nil, "", "", fmt.Errorf("more than two parts: %w", err)
	}
	return m, text, page, nil
}

// check holds a mail against RFC 5322 and wants no header that is not ours and
// no element in the page that could do anything.
func check(got []byte) error {
	m, _, page, err := parse(got)
	if err != nil {
		return err
	}
	for name := range m.Header {
		switch name {
		case "From", "To", "Subject", "Date", "Message-Id", "References", "Auto-Submitted", "X-Fettle-Event", "Mime-Version", "Content-Type":
		default:
			return fmt.Errorf("a header %s", name)
		}
	}
	if _, err := m.Header.Date(); err != nil {
		return err
	}
	if _, err := m.Header.AddressList("To"); err != nil {
		return err
	}
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		return err
	}
	for n := range root.Descendants() {
		switch n.Data {
		case "script", "img", "iframe", "form", "h1":
			if n.Type == html.ElementNode {
				return fmt.Errorf("an element %s", n.Data)
			}
		case "a":
			if href := n.Attr[0].Val; n.Type == html.ElementNode && !strings.HasPrefix(href, "https://") {
				return fmt.Errorf("a link to %s", href)
			}
		}
	}
	return nil
}

func says(got []byte) string {
	m, text, page, err := parse(got)
	if err != nil {
		return err.Error()
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	return fmt.Sprint(subject, "\n", text, "\n", html.UnescapeString(page), err)
}

func TestConformance(t *testing.T) {
	notifytest.Run(t, notifytest.Harness{
		Driver: email.Driver, Check: check, Says: says, Golden: "testdata",
		Start: func(t *testing.T) notifytest.Receiver {
			return receiver{emailtest.Start(t, emailtest.Options{Username: "fettle", Password: password})}
		},
		ID: func(got []byte) string {
			m, _, _, err := parse(got)
			if err != nil {
				return ""
			}
			return m.Header.Get("Message-Id")
		},
		Skip: map[notifytest.Fault]string{
			notifytest.Throttle: "SMTP says 4yz, which is unavailable", notifytest.Redirect: "SMTP knows none", notifytest.Empty: "without a reply the protocol does not go on, see mute",
		},
	})
}

// send sends one message over a server with a configuration.
func send(t *testing.T, s *emailtest.Server, config string) error {
	t.Helper()
	ch, err := email.Driver.Open(t.Context(), notifytest.Decode(config), notifytest.Env(receiver{s}.Secrets(), slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	return ch.Send(t.Context(), notifytest.Message())
}

func TestTheWayInIsSafe(t *testing.T) {
	f := func(o emailtest.Options, keys string, class error, user string) {
		t.Helper()
		s := emailtest.Start(t, o)
		err := send(t, s, fmt.Sprintf(`{server: "%s", from: fettle@example.com, to: [team@example.com], %s}`, s.Address, keys))
		if !errors.Is(err, class) {
			t.Errorf("%+v, %s: %v, want %v", o, keys, err, class)
		}
		mails := s.Mails()
		if class != nil {
			if len(mails) != 0 {
				t.Errorf("%+v, %s: %d mails were sent", o, keys, len(mails))
			}
			return
		}
		if len(mails) != 1 || mails[0].User != user || mails[0].From != "fettle@example.com" || mails[0].TLS == strings.Contains(keys, "tls: none") {
			t.Errorf("%+v, %s: %+v", o, keys, mails)
		}
	}
	signed := `ca: "file:/secret/ca", username: fettle, password: "file:/secret/password"`
	closed := emailtest.Options{Username: "fettle", Password: password}
	f(closed, signed, nil, "fettle")
	f(emailtest.Options{Username: "fettle", Password: password, Implicit: true}, "tls: implicit, "+signed, nil, "fettle")
	f(emailtest.Options{Username: "fettle", Password: password, Auth: "LOGIN"}, signed, nil, "fettle")
	f(closed, "auth: login, "+signed, nil, "fettle")
	f(emailtest.Options{}, `ca: "file:/secret/ca"`, nil, "")
	f(emailtest.Options{}, "tls: none", nil, "")
	f(closed, `ca: "file:/secret/ca"`, ops.ErrDenied, "")                                                     // nobody signed in
	f(emailtest.Options{Username: "fettle", Password: "other"}, signed, ops.ErrDenied, "")                    // the wrong password
	f(emailtest.Options{Username: "fettle", Password: password, NoSTARTTLS: true}, signed, ops.ErrDenied, "") // it would go in the clear
	f(emailtest.Options{}, "tls: starttls", ops.ErrDenied, "")                                                // nobody vouches for the server
	f(emailtest.Options{Implicit: true}, "tls: implicit", ops.ErrDenied, "")
}

func TestWhoIsRefusedKeepsTheMailFromNobody(t *testing.T) {
	f := func(line, to string, class error, mails int) {
		t.Helper()
		s := emailtest.Start(t, emailtest.Options{})
		s.Answer("RCPT eve@example.com", line)
		err := send(t, s, fmt.Sprintf(`{server: "%s", tls: none, from: fettle@example.com, to: [%s]}`, s.Address, to))
		if !errors.Is(err, class) || len(s.Mails()) != mails {
			t.Errorf("%s to %s: %v, %d mails", line, to, err, len(s.Mails()))
		}
	}
	f("550 5.1.1 nobody here", "team@example.com, eve@example.com", nil, 1)
	f("550 5.1.1 nobody here", "eve@example.com", ops.ErrInvalid, 0)
	f("450 4.2.1 later", "team@example.com, eve@example.com", ops.ErrUnavailable, 0) // or the team would get it twice
}

func TestConfigSaysWhatIsWrong(t *testing.T) {
	f := func(config, want string) {
		t.Helper()
		if err := email.Driver.Check(notifytest.Decode(config)); !errors.Is(err, ops.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", config, err, want)
		}
	}
	const rest = "from: a@example.com, to: [b@example.com]"
	f("{server: smtp.example.com, "+rest+"}", "host:port")
	f("{server: \"smtp.example.com:25\", tls: none, username: u, password: \"env:P\", "+rest+"}", "in the clear")
	f("{server: \"smtp.example.com:25\", username: u, "+rest+"}", "belong together")
	f("{server: \"smtp.example.com:25\", from: \"x\", to: [b@example.com]}", "from")
	f("{server: \"smtp.example.com:25\", from: a@example.com, to: [\"x y\"]}", "to[0]")
	f("{server: \"smtp.example.com:25\", from: a@example.com, to: []}", "to is empty")
}
