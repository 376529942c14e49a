package opscenter_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/connector/opscenter/opscentertest"
	"github.com/fettleops/fettle/ops"
)

// sender hands requests to the double, as they are.
type sender struct{ *opscentertest.Service }

func (s sender) Do(r *http.Request, _ connector.Effect) (*http.Response, error) {
	return s.RoundTrip(r)
}

// drain pulls until the cursor stands still.
func (d *desk) drain(cursor string) ([]connector.Copy, string) {
	d.Helper()
	var all []connector.Copy
	for range 200 {
		got, next, err := d.conn.Changes(d.Context(), cursor)
		if err != nil {
			d.Fatal(err)
		}
		all = append(all, got...)
		if next == cursor {
			return all, next
		}
		cursor = next
	}
	d.Fatalf("the cursor never stands still: %s", cursor)
	return nil, ""
}

// More than a batch, more than a page, a deleted one, and one of another
// installation: each of ours comes once, the oldest move first.
func TestManyEdits(t *testing.T) {
	d := start(t)
	var refs []string
	for n := range 70 {
		refs = append(refs, d.create(fmt.Sprint("k", n), ops.TicketIncident, fields()).Ref)
	}
	d.now = d.now.Add(time.Hour)
	_, cursor, err := d.conn.Changes(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := d.drain(cursor); len(got) != 0 {
		t.Errorf("%d old ones are news", len(got))
	}
	slices.Reverse(refs)
	for _, ref := range refs {
		d.now = d.now.Add(time.Second)
		d.Edit(t, "anna", ref, map[string]any{"Title": "edited"}, nil)
	}
	if code, out := d.Call(t, "fettle", "DeleteOpsItem", `{"OpsItemId":"`+refs[3]+`"}`); code != http.StatusOK {
		t.Fatal(out)
	}
	if code, out := d.Call(t, "fettle", "CreateOpsItem", `{"Title":"t","Description":"d","Source":"Fettle","OperationalData":{"fettleInstallation":{"Type":"SearchableString","Value":"elsewhere"}}}`); code != http.StatusOK {
		t.Fatal(out)
	}
	refs = slices.Delete(refs, 3, 4)
	got, cursor := d.drain(cursor)
	var order []string
	for _, c := range got {
		order = append(order, c.Ref)
	}
	if !slices.Equal(order, refs) {
		t.Errorf("came %d: %v", len(order), order)
	}
	d.now = d.now.Add(time.Hour)
	if got, next := d.drain(cursor); len(got) != 0 || len(next) > 200 {
		t.Errorf("%d came again; the cursor is %d long", len(got), len(next))
	}
}

// Whatever people do, however late lists are and wherever a pull breaks off:
// what an item shows in the end has come.
func TestNoEditIsLostProperty(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		d := start(t)
		d.Precision = rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second}).Draw(r, "precision")
		d.Lag = rapid.SampledFrom([]time.Duration{0, time.Second, 50 * time.Second}).Draw(r, "lag") // the overlap is a minute
		var refs []string
		last := map[string]string{}
		for n := range rapid.IntRange(1, 4).Draw(r, "items") {
			refs = append(refs, d.create(fmt.Sprint("k", n), ops.TicketWorkOrder, fields()).Ref)
		}
		_, cursor, err := d.conn.Changes(t.Context(), "")
		if err != nil {
			r.Fatal(err)
		}
		title := map[string]string{}
		see := func(all []connector.Copy) {
			for _, c := range all {
				last[c.Ref] = c.Fields.Title
			}
		}
		for n := range rapid.IntRange(1, 25).Draw(r, "steps") {
			switch rapid.IntRange(0, 3).Draw(r, "step") {
			case 0, 1:
				ref := rapid.SampledFrom(refs).Draw(r, "item")
				title[ref] = fmt.Sprint("title ", n)
				d.Edit(t, "anna", ref, map[string]any{"Title": title[ref]}, nil)
			case 2:
				got, next, err := d.conn.Changes(t.Context(), cursor)
				if err != nil {
					r.Fatal(err)
				}
				if rapid.Bool().Draw(r, "arrives") { // or the process died before it was kept
					see(got)
					cursor = next
				}
			}
			d.now = d.now.Add(time.Duration(rapid.SampledFrom([]int{0, 1, 400, 5_000, 70_000}).Draw(r, "ms")) * time.Millisecond)
		}
		for range 4 {
			d.now = d.now.Add(30 * time.Second)
			got, next := d.drain(cursor)
			see(got)
			cursor = next
		}
		for ref, want := range title {
			if last[ref] != want {
				r.Errorf("%s came with %q, and is %q; cursor %s, %s", ref, last[ref], want, cursor, asJSON(d.Items()))
			}
		}
	})
}
