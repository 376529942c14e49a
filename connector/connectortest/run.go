package connectortest

import (
	"context"
	"testing"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
)

// Rule is one thing every driver does, and why it must.
type Rule struct {
	Name string
	Why  string
	Test func(s *Suite)
}

// Rules lists what Run proves, in order.
var Rules = []Rule{
	{"create twice", "a retry after a lost reply must not open a second ticket", createTwice},
}

// Suite is one rule at work on one peer.
type Suite struct {
	*testing.T
	Harness

	conn *connector.Conn
}

// Run proves that d keeps the contract. start is called once per rule and
// returns a peer; it may be the same one, as every rule uses keys of its own.
func Run(t *testing.T, d connector.Driver, start func(t *testing.T) Harness) {
	for _, r := range Rules {
		t.Run(r.Name, func(t *testing.T) {
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("why %q matters: %s", r.Name, r.Why)
				}
			})
			s := &Suite{T: t, Harness: start(t)}
			s.conn = s.open(d, s.Settings, s.Secrets)
			r.Test(s)
		})
	}
}

func (s *Suite) open(d connector.Driver, settings connector.Settings, secrets map[string]string) *connector.Conn {
	s.Helper()
	c, err := d.Open(s.Context(), settings, connector.Env{
		Name: "peer", Installation: "connectortest", User: s.User, PublicURL: "http://fettle.test",
		Clock: s.now, Secrets: secretMap(secrets), Records: s.Records,
	})
	if err != nil {
		s.Fatalf("open: %v", err)
	}
	s.Cleanup(func() { _ = c.Close() })
	return c
}

func (s *Suite) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

func createTwice(s *Suite) {
	ctx := context.Background()
	key := "00112233445566778899aabbccddeeff"
	one, err := s.conn.Create(ctx, key, ops.TicketIncident, ops.TicketFields{Title: "once"})
	if err != nil {
		s.Fatal(err)
	}
	two, err := s.conn.Create(ctx, key, ops.TicketIncident, ops.TicketFields{Title: "once"})
	if err != nil || two.Ref != one.Ref {
		s.Fatalf("second create gave %q, %v; the first %q", two.Ref, err, one.Ref)
	}
}
