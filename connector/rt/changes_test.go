package rt

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/fettleops/fettle/ops"
)

// A transaction that becomes visible after one with a higher number must not be
// skipped, and one that was returned must not come again.
func TestCursor(t *testing.T) {
	start := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	tx := func(id int, ticket string, at time.Duration) transaction {
		return transaction{ID: text(strconv.Itoa(id)), ObjectID: text(ticket), Type: "Set", Created: stamp{start.Add(at)}}
	}
	f := func(cursor string, now time.Duration, listed []transaction, next string, tickets ...text) {
		t.Helper()
		c, err := parseCursor(cursor)
		if err != nil {
			t.Fatal(err)
		}
		moved, after := c.advance(listed, start.Add(now-time.Minute))
		if got := slices.Sorted(maps.Keys(moved)); after.String() != next || !slices.Equal(got, tickets) {
			t.Errorf("from %s come %v and %s, want %v and %s", cursor, got, after, tickets, next)
		}
	}
	five, six, seven := tx(5, "1", 0), tx(6, "2", time.Second), tx(7, "1", 2*time.Second)
	f("4", 3*time.Second, []transaction{five, seven}, "4:5,7", "1")
	f("4:5,7", 4*time.Second, []transaction{five, six, seven}, "4:5,6,7", "2") // six was late
	f("4:5,6,7", 5*time.Second, []transaction{five, six, seven}, "4:5,6,7")
	f("4:5,6,7", time.Hour, []transaction{five, six, seven}, "7")
	f("4", time.Hour, []transaction{five, six, seven}, "7", "1", "2")
	f("7", time.Hour, nil, "7")

	// What does not fit into one batch waits, even when it is old.
	var many []transaction
	for i := range batch + 2 {
		many = append(many, tx(i+1, strconv.Itoa(i+1), 0))
	}
	many = append(many, tx(100, "1", 0))
	c, _ := parseCursor("0")
	moved, next := c.advance(many, start.Add(time.Hour))
	if len(moved) != batch || moved["1"].last != 100 || next.String() != strconv.Itoa(batch)+":100" {
		t.Errorf("%d tickets, cursor %s", len(moved), next)
	}
	moved, next = next.advance(many[batch:], start.Add(time.Hour))
	if len(moved) != 2 || next.String() != "100" {
		t.Errorf("then %d tickets, cursor %s", len(moved), next)
	}

	for _, bad := range []string{"x", "1:x", "1,2"} {
		if _, err := parseCursor(bad); !errors.Is(err, ops.ErrInvalid) {
			t.Errorf("cursor %q: %v", bad, err)
		}
	}
}
