// Package connectortest proves that a driver keeps the contract of package
// connector. Every rule carries its reason, printed when it fails.
//
// A driver's test starts its peer (a simulator, a real platform) and hands a
// Harness to Run:
//
//	func TestDriver(t *testing.T) {
//		connectortest.Run(t, servicenow.Driver, func(t *testing.T) connectortest.Harness { ... })
//	}
//
// For a driver that speaks HTTP the suite injects the faults itself, in the
// transport between driver and peer.
package connectortest

import (
	"net/http"
	"testing"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
)

// Harness is a peer with nothing in it that matters to the test, and the hands
// of a person in front of it.
type Harness struct {
	// Settings connect the driver to the peer. Use Values for the sections.
	Settings connector.Settings
	// Secrets are the references the settings hold, with their values. No
	// error and no log line may show a value.
	Secrets map[string]string
	// User is the integration's own user at the peer.
	User string
	// Kind is what Create is asked for; empty means an incident.
	Kind ops.TicketKind
	// Fields is the content tickets are opened with; the zero value takes one
	// that fits most. Group and Resource must exist at the peer or be empty.
	Fields ops.TicketFields
	// Records is the driver's table; nil takes one in memory.
	Records connector.Records
	// Transport reaches the peer. Nil means that the driver speaks no HTTP:
	// the rules about HTTP answers are then left out.
	Transport http.RoundTripper
	// Now is the peer's clock; nil takes time.Now.
	Now func() time.Time
	// Wait lets time pass at the peer, by a virtual clock or by sleeping. It is
	// used where two writes must not carry the same second, and to settle.
	Wait func(d time.Duration)

	// Edit changes a ticket as the named person does it in the platform, not
	// through the driver: the fields changed, and the note if it is not empty.
	Edit func(t *testing.T, ref, user string, changed []connector.Field, f ops.TicketFields, note string)
	// People are two users who may edit tickets at the peer.
	People [2]string
	// Count returns how many tickets the peer holds under a key, asked without
	// the driver.
	Count func(t *testing.T, key string) int
	// Decide decides on the request for approval that stands on a change
	// request, as the named person does it in the platform. Nil leaves out the
	// rules about change requests.
	Decide func(t *testing.T, ref, user string, d ops.Decision, comment string)
	// Change is the content change requests are opened with, beside what Fields
	// has; the zero value takes one that fits most.
	Change ops.TicketFields
	// Offer gives a work order its window, as the named person does it in the
	// platform. Nil leaves out the rules about work orders.
	Offer func(t *testing.T, ref, user string, start, end time.Time)
	// Tasks returns how many tasks of ours the peer holds of a change request,
	// asked without the driver. A driver that keeps tasks needs it.
	Tasks func(t *testing.T, ref string) int
	// Missing is a ref that looks right and that no ticket has.
	Missing string
	// IsWrite tells whether a request changes a ticket; nil takes everything
	// but GET and HEAD. Asking for a token, or searching by POST, does not.
	IsWrite func(*http.Request) bool
	// Writes returns how many writing requests the peer has served, asked
	// without the driver; nil counts those that pass Transport.
	Writes func(t *testing.T) int
	// Broken are settings that open but do not work (a wrong password, a
	// missing field), with a word each that Check must say.
	Broken []Broken
}

// Broken is a connection that does not work.
type Broken struct {
	Name     string
	Settings connector.Settings
	Secrets  map[string]string
	Says     string // part of what Check must answer
}
