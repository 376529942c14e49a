// Package emailtest is a small real SMTP server (RFC 5321) with STARTTLS, TLS
// from the first byte and AUTH PLAIN and LOGIN, that can be told to misbehave.
package emailtest

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Options say what the server offers.
type Options struct {
	Implicit   bool   // TLS from the first byte
	NoSTARTTLS bool   // and it is not offered later either
	Auth       string // methods offered once the connection is safe; empty: PLAIN LOGIN
	Username   string // empty: nobody need sign in
	Password   string
}

// Server is the server.
type Server struct {
	Address string
	CA      string // that vouches for it, PEM

	o   Options
	tls *tls.Config
	l   net.Listener

	mu    sync.Mutex
	lines map[string]string // command or "." to what is answered instead
	mails []Mail
	open  []net.Conn
	quiet bool // takes mail and says nothing
	wait  sync.WaitGroup
}

// Mail is one that was taken.
type Mail struct {
	From string
	To   []string
	Data string
	TLS  bool
	User string // who signed in
}

// Start starts a server on loopback that ends with the test.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	if o.Auth == "" {
		o.Auth = "PLAIN LOGIN"
	}
	s := &Server{o: o, lines: map[string]string{}}
	cert, ca := certificate(t)
	s.CA, s.tls = ca, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	var err error
	if s.l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	s.Address = s.l.Addr().String()
	s.wait.Go(s.accept)
	t.Cleanup(s.Close)
	return s
}

// certificate makes one for 127.0.0.1 that signs itself.
func certificate(t testing.TB) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "emailtest"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, x, x, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// Answer makes the server answer a command (EHLO, AUTH, "MAIL", "RCPT", "DATA"
// or "." for the end of a mail) with a line; an empty line hangs up. A RCPT may
// be named with its address, "RCPT eve@example.com".
func (s *Server) Answer(command, line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines[command] = line
}

// Behave makes it behave again.
func (s *Server) Behave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines, s.quiet = map[string]string{}, false
}

// Mute makes it take mails and say nothing.
func (s *Server) Mute() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quiet = true
}

// Mails returns what was taken.
func (s *Server) Mails() []Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mails)
}

// Close ends the server. It may be called twice.
func (s *Server) Close() {
	_ = s.l.Close()
	s.mu.Lock()
	for _, c := range s.open {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.wait.Wait()
}

func (s *Server) accept() {
	for {
		c, err := s.l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.open = append(s.open, c)
		s.mu.Unlock()
		s.wait.Go(func() {
			defer c.Close()
			if s.o.Implicit {
				safe := tls.Server(c, s.tls)
				if safe.Handshake() != nil {
					return
				}
				(&session{s: s, c: safe, safe: true}).serve()
				return
			}
			(&session{s: s, c: c}).serve()
		})
	}
}

// session is one conversation.
type session struct {
	s    *Server
	c    net.Conn
	r    *bufio.Reader
	safe bool
	user string
	mail Mail
}

func (x *session) say(format string, args ...any) bool {
	_, err := fmt.Fprintf(x.c, format+"\r\n", args...)
	return err == nil
}

// instead says what the test wants said in place of the truth; false: hang up.
func (x *session) instead(keys ...string) (said, alive bool) {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	for _, k := range keys {
		if line, ok := x.s.lines[k]; ok {
			return true, line != "" && x.say("%s", line)
		}
	}
	return false, true
}

func (x *session) serve() {
	x.r = bufio.NewReader(x.c)
	if !x.say("220 emailtest ESMTP") {
		return
	}
	for {
		line, err := x.r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		word, rest, _ := strings.Cut(line, " ")
		word = strings.ToUpper(word)
		address, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(rest, "TO:<"), "FROM:<"), ">")
		if said, alive := x.instead(word+" "+address, word); said {
			if !alive {
				return
			}
			continue
		}
		if !x.command(word, rest, address) {
			return
		}
	}
}

func (x *session) command(word, rest, address string) bool {
	switch word {
	case "EHLO":
		lines := []string{"emailtest", "8BITMIME", "SIZE 1048576"}
		if !x.safe && !x.s.o.NoSTARTTLS {
			lines = append(lines, "STARTTLS")
		}
		if x.safe && x.s.o.Username != "" {
			lines = append(lines, "AUTH "+x.s.o.Auth)
		}
		for i, l := range lines {
			sep := "-"
			if i == len(lines)-1 {
				sep = " "
			}
			if !x.say("250%s%s", sep, l) {
				return false
			}
		}
		return true
	case "STARTTLS":
		if x.safe || x.s.o.NoSTARTTLS {
			return x.say("502 not offered")
		}
		if !x.say("220 go ahead") {
			return false
		}
		safe := tls.Server(x.c, x.s.tls)
		if safe.Handshake() != nil {
			return false
		}
		x.c, x.safe = safe, true
		x.r = bufio.NewReader(safe)
		return true
	case "AUTH":
		return x.auth(rest)
	case "MAIL":
		if x.s.o.Username != "" && x.user == "" {
			return x.say("530 5.7.0 sign in first")
		}
		x.mail = Mail{From: address, TLS: x.safe, User: x.user}
		return x.say("250 ok")
	case "RCPT":
		if x.mail.From == "" {
			return x.say("503 MAIL first")
		}
		x.mail.To = append(x.mail.To, address)
		return x.say("250 ok")
	case "DATA":
		if len(x.mail.To) == 0 {
			return x.say("503 RCPT first")
		}
		return x.say("354 go ahead") && x.data()
	case "RSET", "NOOP":
		return x.say("250 ok")
	case "QUIT":
		x.say("221 bye")
		return false
	}
	return x.say("500 what is %s?", word)
}

func (x *session) data() bool {
	var b strings.Builder
	for {
		line, err := x.r.ReadString('\n')
		switch {
		case err != nil:
			return false
		case !strings.HasSuffix(line, "\r\n"):
			return x.say("554 a line that ends in a bare LF")
		case len(line) > 1000:
			return x.say("554 a line of %d bytes (RFC 5321, 4.5.3.1.6)", len(line))
		case line == ".\r\n":
			return x.end(b.String())
		}
		b.WriteString(strings.TrimPrefix(line, "."))
	}
}

func (x *session) end(data string) bool {
	x.s.mu.Lock()
	quiet := x.s.quiet
	x.s.mu.Unlock()
	if quiet {
		_, _ = x.r.ReadByte() // until the other side hangs up
		return false
	}
	if said, alive := x.instead("."); said {
		return alive
	}
	x.mail.Data = data
	x.s.mu.Lock()
	x.s.mails = append(x.s.mails, x.mail)
	x.s.mu.Unlock()
	x.mail = Mail{}
	return x.say("250 2.0.0 taken")
}

func (x *session) auth(rest string) bool {
	method, first, _ := strings.Cut(rest, " ")
	if !x.safe || !slices.Contains(strings.Fields(x.s.o.Auth), method) {
		return x.say("504 5.5.4 not offered")
	}
	read := func(prompt string) (string, bool) {
		if !x.say("334 %s", base64.StdEncoding.EncodeToString([]byte(prompt))) {
			return "", false
		}
		line, err := x.r.ReadString('\n')
		b, fault := base64.StdEncoding.DecodeString(strings.TrimRight(line, "\r\n"))
		return string(b), err == nil && fault == nil
	}
	var user, password string
	var ok bool
	if method == "LOGIN" {
		if user, ok = read("Username:"); ok {
			password, ok = read("Password:")
		}
	} else {
		b, err := base64.StdEncoding.DecodeString(first)
		parts := strings.Split(string(b), "\x00")
		if ok = err == nil && len(parts) == 3; ok {
			user, password = parts[1], parts[2]
		}
	}
	if !ok || user != x.s.o.Username || password != x.s.o.Password {
		return x.say("535 5.7.8 wrong: %s %s", rest, password)
	}
	x.user = user
	return x.say("235 2.7.0 welcome")
}
