package recommend_test

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fettleops/fettle/change"
	"github.com/fettleops/fettle/change/recommend"
	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/ops"
)

func contains(s, part string) bool { return strings.Contains(s, part) }

func person(id string, roles ...ops.Role) ops.Principal {
	return ops.Principal{ID: id, Name: id, Kind: ops.Person, Roles: roles}
}

var (
	manager = person("mia", ops.ChangeManager)
	owner   = person("olga", ops.ApplicationOwner)
)

func TestARecommendationGoesAround(t *testing.T) {
	h := newHouse(t)
	h.deliver(insight("i-1", "a", "b"))
	r := h.want("REC-1", ops.RecommendationPlaced, "rule by itself places REC-1")
	c := h.change("CHG-1", ops.ChangeAssess, "")
	if r.Change != "CHG-1" || c.RecommendationID != r.ID || c.Analysis.Recommendation != "REC-1" || c.RequestedBy != "recommendation/by itself" || strings.Join(c.Args, " ") != "i-1 b" || c.ResourceID != r.ResourceID {
		t.Fatalf("recommendation %+v, change %+v", r, c)
	}
	h.deliver(insight("i-1", "a", "b"))
	if len(h.all()) != 1 || len(h.changes()) != 1 {
		t.Fatal("the same again did something")
	}
	h.started("CHG-1")
	h.finished("CHG-1", ops.Better)
	h.change("CHG-1", ops.ChangeClosed, ops.Successful)
	r = h.want("REC-1", ops.RecommendationDone, "CHG-1 ended as successful")
	if r.Realised == nil || r.Realised.Final || r.DueAt.IsZero() {
		t.Errorf("nothing is counted: %+v", r.Realised)
	}
	h.now = h.now.Add(10 * time.Hour)
	h.must(h.every["recommend.due"](h.ctx))
	if v := h.get("REC-1").Realised; v.Amount == nil || *v.Amount < 0.999 || *v.Amount > 1.001 || *v.Predicted < 0.999 || *v.Predicted > 1.001 {
		t.Errorf("after ten hours %+v, want 1 USD of 1 predicted", v)
	}
	// It is a again, long after.
	h.now = h.now.Add(30 * 24 * time.Hour)
	h.deliver(insight("i-1", "a", "b"))
	if v := h.get("REC-1").Realised; !contains(v.Regressed, "it is a again") || !v.Final {
		t.Errorf("it went back: %+v", v)
	}
	h.want("REC-2", ops.RecommendationPlaced, "")
	totals, err := h.store.RecommendationTotals(h.ctx)
	h.must(err)
	if x := totals[0]; len(totals) != 1 || x.Kind != "Downsize" || x.Count != 2 || x.Placed != 1 || x.Done != 1 || x.Regressed != 1 || x.Measured != 1 || x.Ratio == nil || x.Open < 0.0999 || x.Open > 0.1001 {
		t.Errorf("totals %+v", totals)
	}
}

func TestWhatIsWorseIsARegression(t *testing.T) {
	h := newHouse(t)
	h.deliver(insight("i-1", "a", "b"))
	h.started("CHG-1")
	h.finished("CHG-1", ops.Worse)
	h.change("CHG-1", ops.ChangeClosed, ops.Unsuccessful)
	if r := h.want("REC-1", ops.RecommendationDone, ""); !contains(r.Realised.Regressed, "latency rose") || !r.Realised.Final {
		t.Errorf("realised %+v", r.Realised)
	}
}

func TestUnplacedIsKeptAndPlacedWhenARuleComes(t *testing.T) {
	h := newHouse(t)
	bad := insight("i-2", "a", "")
	bad.Fault, bad.Raw = "missing: recommendedType", []byte(`{"resourceId":"i-2"}`)
	h.deliver(insight("i-1", "a", "z"), bad)
	h.want("REC-1", ops.RecommendationUnplaced, "none of 2 rules matches")
	h.want("REC-2", ops.RecommendationUnplaced, "missing: recommendedType")
	h.config.Rules = append(h.config.Rules, recommend.Rule{Name: "late", Match: "true", Executor: "host", Action: "resize"})
	h.restart()
	h.must(h.db.Write(h.ctx, func(tx db.Tx) error { return h.store.ReconsiderRecommendations(h.ctx, tx, h.now) }))
	h.must(h.every["recommend.due"](h.ctx))
	h.want("REC-1", ops.RecommendationPlaced, "rule late")
	h.want("REC-2", ops.RecommendationUnplaced, "missing: recommendedType")
}

func TestALaterRecommendationRestarts(t *testing.T) {
	h := newHouse(t)
	h.deliver(insight("i-1", "a", "b"))
	h.planned("CHG-1")
	h.deliver(insight("i-1", "a", "c"))
	h.change("CHG-1", ops.ChangeCancelled, ops.Superseded)
	h.want("REC-1", ops.RecommendationSuperseded, "it says something else than REC-1")
	if r := h.want("REC-2", ops.RecommendationPlaced, ""); r.Change != "CHG-2" || r.Supersedes != "REC-1" {
		t.Errorf("REC-2 %+v", r)
	}
	// Just before its window the next one waits, and is placed when it is over.
	h.planned("CHG-2")
	h.now = h.change("CHG-2", ops.ChangeScheduled, "").Window.Start.Add(-5 * time.Minute)
	h.deliver(insight("i-1", "a", "d"))
	h.want("REC-3", ops.RecommendationNew, "CHG-2 is within 5m0s of its window")
	h.deliver(insight("i-1", "a", "e")) // and gives way to one that comes after it
	h.want("REC-3", ops.RecommendationSuperseded, "")
	h.now = h.now.Add(5 * time.Minute)
	h.wake()
	h.finished("CHG-2", ops.Better)
	h.want("REC-2", ops.RecommendationDone, "")
	if r := h.want("REC-4", ops.RecommendationPlaced, ""); r.Change != "CHG-3" {
		t.Errorf("REC-4 %+v", r)
	}
}

func TestWithdrawnWithItsProducer(t *testing.T) {
	h := newHouse(t)
	gone := insight("i-1", "a", "a")
	gone.Gone = "Densify says Just Right"
	h.deliver(insight("i-1", "a", "b"))
	h.deliver(gone)
	h.change("CHG-1", ops.ChangeCancelled, ops.Withdrawn)
	h.want("REC-1", ops.RecommendationWithdrawn, "Densify says Just Right")
	h.deliver(insight("i-1", "a", "b"))
	h.started("CHG-2")
	h.deliver(gone)
	h.change("CHG-2", ops.ChangeImplement, "") // it has begun
	h.finished("CHG-2", ops.Better)
	h.want("REC-2", ops.RecommendationDone, "")
}

func TestEndsOfTheChange(t *testing.T) {
	prod := insight("i-1", "a", "b")
	prod.Tags = map[string]string{"env": "prod"}
	h := newHouse(t)
	h.deliver(prod)
	h.planned("CHG-1")
	c := h.change("CHG-1", ops.ChangeAuthorize, "")
	if _, err := h.gate.Decide(h.ctx, manager, c.ID, ops.Refused, c.PlanDigest, "not before the sale", "api"); err != nil {
		t.Fatal(err)
	}
	h.want("REC-1", ops.RecommendationWithdrawn, "CHG-1 ended as denied: mia not before the sale")
	h.deliver(prod)
	if len(h.all()) != 1 {
		t.Fatal("what was denied is asked for again the next night")
	}
	prod.Recommended.Type = "c"
	h.deliver(prod)
	h.planned("CHG-2")
	h.now = h.now.Add(73 * time.Hour)
	h.wake()
	h.change("CHG-2", ops.ChangeCancelled, ops.Expired)
	h.want("REC-2", ops.RecommendationUnplaced, "CHG-2 ended as expired")
	prod.Effort = "Low"
	h.deliver(prod) // a retag places nothing
	h.want("REC-2", ops.RecommendationUnplaced, "CHG-2 ended as expired")
	h.now = h.now.Add(7 * 24 * time.Hour)
	h.must(h.every["recommend.due"](h.ctx))
	if r := h.want("REC-2", ops.RecommendationPlaced, ""); r.Change != "CHG-3" {
		t.Errorf("after its rest %+v", r)
	}
}

func TestDismiss(t *testing.T) {
	h := newHouse(t)
	h.deliver(insight("i-1", "a", "b"), insight("i-2", "a", "z"))
	f := func(by ops.Principal, key, reason string, class error) {
		t.Helper()
		if _, err := h.placer.Dismiss(h.ctx, by, key, reason, "api"); !errors.Is(err, class) {
			t.Errorf("%s dismisses %s for %q: %v, want %v", by.Name, key, reason, err, class)
		}
	}
	f(ops.Principal{ID: "robot", Name: "robot", Kind: ops.Service, Roles: []ops.Role{ops.Admin}}, "REC-2", "no", ops.ErrDenied)
	f(person("vic", ops.Viewer), "REC-2", "no", ops.ErrDenied)
	f(owner, "REC-2", " ", ops.ErrInvalid)
	f(owner, "REC-9", "no", ops.ErrNotFound)
	f(owner, "REC-1", "no", ops.ErrDenied) // its change needs a change manager
	h.want("REC-1", ops.RecommendationPlaced, "")
	f(manager, "REC-1", "we keep it large", nil)
	f(owner, "rec-2", "wrong region", nil)
	f(owner, "REC-2", "again", ops.ErrConflict)
	h.change("CHG-1", ops.ChangeCancelled, ops.Withdrawn)
	h.want("REC-1", ops.RecommendationWithdrawn, "dismissed by mia: we keep it large")
	h.deliver(insight("i-1", "a", "b"), insight("i-2", "a", "z"))
	if len(h.all()) != 2 {
		t.Error("what was dismissed came again")
	}
}

// TestHintsApproveNothing: whoever knows ICCO's paths and one account's
// password can call them, so they must not count as anybody's approval.
func TestHintsApproveNothing(t *testing.T) {
	h := newHouse(t)
	prod := insight("i-1", "a", "b")
	prod.Tags = map[string]string{"env": "prod"}
	h.deliver(prod)
	h.planned("CHG-1")
	c := h.change("CHG-1", ops.ChangeAuthorize, "")
	ticket := ops.Ticket{Kind: ops.TicketChangeRequest, Platform: "snow", Key: "k", Ref: "r", Display: "CHG0001", Subject: c.Subject(), Sync: ops.SyncOK}
	h.must(h.db.Write(h.ctx, func(tx db.Tx) error { return h.store.SaveTicket(h.ctx, tx, &ticket) }))
	facts := func() int {
		all, err := h.store.FactsAfter(h.ctx, 0, 10000)
		h.must(err)
		return len(all)
	}
	before, told := h.get("REC-1"), facts()
	hint := func(word string, change func(x *ops.Hint)) {
		x := ops.Hint{Integration: "d", Word: word, Service: ops.ServiceEC2, ResourceKey: "i-1", Region: "us-east-1"}
		change(&x)
		h.append("", ops.Signal{Hint: &x})
		h.catchUp()
	}
	none := func(*ops.Hint) {}
	hint("approve", none)
	hint("close", none)
	if got := h.orders(ops.PullPlatform); len(got) != 2 || got[0].Subject != "platform/snow" {
		t.Errorf("ordered %+v, want the platform read twice", got)
	}
	hint("approve", func(x *ops.Hint) { x.ResourceKey = "i-2" })
	hint("approve", func(x *ops.Hint) { x.Accounts = []string{"2"} })
	hint("approve", func(x *ops.Hint) { x.Integration = "other" })
	if got := h.orders(ops.PullPlatform); len(got) != 2 {
		t.Errorf("ordered %+v for hints about others", got)
	}
	h.now = h.now.Add(48 * time.Hour)
	h.wake()
	after := h.change("CHG-1", ops.ChangeAuthorize, "")
	if len(after.Approvals) != 0 || after.Version != c.Version || h.get("REC-1").Version != before.Version || facts() != told {
		t.Errorf("a hint changed something: %+v, %d facts, before %d", after, facts(), told)
	}
}

func TestTheProducerIsAsked(t *testing.T) {
	h := newHouse(t)
	wants := insight("i-1", "a", "b")
	wants.Wants = "tags and report of Densify"
	times := 0
	h.asked = func(ops.Recommendation) (recommend.Told, error) {
		times++
		return recommend.Told{}, fmt.Errorf("densify: no tags: %w", ops.ErrUnavailable)
	}
	h.deliver(wants)
	h.want("REC-1", ops.RecommendationNew, "it waits for tags and report of Densify")
	ask := func() error {
		t.Helper()
		orders := h.orders(ops.AskProducer)
		return h.handlers[ops.AskProducer](h.ctx, orders[len(orders)-1])
	}
	for range 7 {
		if err := ask(); err == nil || !contains(err.Error(), "again in") {
			t.Fatalf("asked in vain: %v, want a later look", err)
		}
		h.want("REC-1", ops.RecommendationUnplaced, "it lacks tags and report of Densify: densify: no tags")
		h.deliver(wants) // while it is asked, coming again asks no second time
	}
	h.must(ask())
	if len(h.orders(ops.AskProducer)) != 1 || times != 8 {
		t.Fatalf("%d orders, asked %d times; want 1 and 8", len(h.orders(ops.AskProducer)), times)
	}
	h.want("REC-1", ops.RecommendationUnplaced, "asked again when it comes again")
	h.asked = func(r ops.Recommendation) (recommend.Told, error) {
		r.Tags, r.Stack, r.LogicalID = map[string]string{"env": "prod"}, "stack", "Web"
		return recommend.Told{Recommendation: r, Report: []byte("pdf")}, nil
	}
	h.deliver(wants)
	h.must(ask())
	r := h.want("REC-1", ops.RecommendationPlaced, "rule asked places")
	c := h.change("CHG-1", ops.ChangeAssess, "")
	if r.Report != "digest of pdf" || c.Analysis.Report != r.Report || c.Analysis.Stack != "stack" {
		t.Errorf("recommendation %+v, analysis %+v", r, c.Analysis)
	}
	h.deliver(wants)
	h.must(ask())
	if len(h.all()) != 1 || h.get("REC-1").Stack != "stack" {
		t.Error("what was told is forgotten when it comes again")
	}
}

// TestTheRuleApprovesNothing: the rule that asks is a service, so
// any approver is free to decide and the rule is not.
func TestTheRuleApprovesNothing(t *testing.T) {
	h := newHouse(t)
	prod := insight("i-1", "a", "b")
	prod.Tags, prod.ApprovalType = map[string]string{"env": "prod"}, "all"
	h.deliver(prod)
	h.planned("CHG-1")
	c := h.change("CHG-1", ops.ChangeAuthorize, "")
	robot := recommend.Rule{Name: "asked"}.Principal()
	robot.Roles = []ops.Role{ops.Admin}
	if _, err := h.gate.Decide(h.ctx, robot, c.ID, ops.Approved, c.PlanDigest, "", "api"); !errors.Is(err, ops.ErrDenied) {
		t.Errorf("the rule approves its own change: %v", err)
	}
	if _, err := h.gate.Decide(h.ctx, manager, c.ID, ops.Approved, c.PlanDigest, "", "api"); err != nil {
		t.Errorf("a change manager may not approve: %v", err)
	}
	h.change("CHG-1", ops.ChangeScheduled, "")
}

// TestAWholeEstateInOneDelivery goes past the bounds of one transaction, and
// loses power in the middle.
func TestAWholeEstateInOneDelivery(t *testing.T) {
	h := newHouse(t)
	var signals []ops.Signal
	const n = 250
	for i := range n {
		r := insight(fmt.Sprintf("i-%d", i), "a", "z")
		signals = append(signals, ops.Signal{Recommendation: &r})
	}
	h.append("", signals...)
	h.fail = 2*130 + 1 // in the second transaction
	h.catchUp()
	if got := len(h.all()); got != n {
		t.Errorf("%d recommendations, want %d", got, n)
	}
	if n, err := h.placer.CatchUp(h.ctx); n != 0 || err != nil {
		t.Errorf("read again: %d, %v", n, err)
	}
}

// TestPlacementProperty plays random deliveries, also twice, late and with the
// power going in between, against random lives of the changes they lead to: at
// most one change per identity is live, every live change is that of a placed
// recommendation and the other way round, and what was said last is known.
func TestPlacementProperty(t *testing.T) {
	given := peer.Proving()
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if !given {
		if err := flag.Set("rapid.checks", "10"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = flag.Set("rapid.checks", "100") })
	}
	var h *house
	checks := 0
	outer := t
	rapid.Check(t, func(t *rapid.T) {
		if checks%10 == 0 { // what others left behind is read at each step
			h = newHouse(outer)
		}
		checks++
		h.commands = nil
		account := fmt.Sprintf("%d", checks)
		last := map[string]ops.Recommendation{} // by identity, what its producer said last
		var sent []ops.Recommendation
		seen := h.now
		types := []string{"a", "b", "c", "z"}
		say := func(r ops.Recommendation) {
			sent = append(sent, r)
			if known, ok := last[r.Identity()]; !ok || !r.ObservedAt.Before(known.ObservedAt) {
				last[r.Identity()] = r
			}
			if rapid.IntRange(0, 3).Draw(t, "power") == 0 {
				h.fail = rapid.IntRange(1, 4).Draw(t, "fails")
			}
			h.deliver(r)
			h.fail = 0
		}
		mine := func() (out []ops.Change) {
			for _, c := range h.changes() {
				if c.Analysis != nil && c.Analysis.Account == account && !c.State.Terminal() {
					out = append(out, c)
				}
			}
			return out
		}
		t.Repeat(map[string]func(*rapid.T){
			"recommend": func(t *rapid.T) {
				seen = seen.Add(time.Minute)
				r := insight(rapid.SampledFrom([]string{"i-1", "i-2"}).Draw(t, "key"), rapid.SampledFrom(types).Draw(t, "from"), rapid.SampledFrom(types).Draw(t, "to"))
				r.Account, r.ObservedAt = account, seen
				r.Resource.Aliases = []string{ops.Alias("arn", "aws:ec2:us-east-1:"+account+":instance/"+r.ResourceKey)}
				if r.Current.Equal(r.Recommended) {
					r.Gone = "Just Right"
				}
				if rapid.Bool().Draw(t, "retag") {
					r.Effort = "Low"
				}
				say(r)
			},
			"again": func(t *rapid.T) {
				if len(sent) > 0 {
					say(rapid.SampledFrom(sent).Draw(t, "one of before"))
				}
			},
			"restart": func(*rapid.T) { h.restart() },
			"time": func(t *rapid.T) {
				h.now = h.now.Add(time.Duration(rapid.SampledFrom([]int{1, 60, 600, 9 * 24 * 60}).Draw(t, "minutes")) * time.Minute)
				h.wake()
				h.must(h.every["recommend.due"](h.ctx))
			},
			"gate": func(t *rapid.T) {
				list := mine()
				if len(list) == 0 {
					return
				}
				c := rapid.SampledFrom(list).Draw(t, "change")
				switch c.State {
				case ops.ChangeAssess:
					h.planned(c.Key())
				case ops.ChangeScheduled:
					switch rapid.IntRange(0, 2).Draw(t, "then") {
					case 0:
						if _, err := h.gate.Cancel(h.ctx, manager, c.ID, "no", "api"); err != nil {
							t.Fatal(err)
						}
					case 1:
						h.now = c.Window.Start.Add(-time.Duration(rapid.IntRange(0, 600).Draw(t, "seconds")) * time.Second)
					default:
						h.now = c.Window.Start
						h.wake()
					}
				case ops.ChangeImplement:
					if c.Run.State == ops.RunHeld {
						if _, err := h.gate.DecideHeld(h.ctx, manager, c.ID, change.HeldFailed, "looked"); err != nil {
							t.Fatal(err)
						}
						return
					}
					h.finished(c.Key(), rapid.SampledFrom([]ops.VerdictWord{ops.Better, ops.Worse}).Draw(t, "verdict"))
				}
			},
			"dismiss": func(t *rapid.T) {
				for _, r := range h.all() {
					if r.Account == account && r.State.Live() && rapid.Bool().Draw(t, "this one") {
						if _, err := h.placer.Dismiss(h.ctx, manager, r.ID, "no", "api"); err != nil && !errors.Is(err, ops.ErrConflict) {
							t.Fatal(err)
						}
						return
					}
				}
			},
			"": func(t *rapid.T) {
				if err := h.sound(); err != nil {
					t.Fatal(err)
				}
				known := map[string]bool{}
				for _, r := range h.all() {
					known[r.Identity()+r.Current.String()+r.Recommended.String()] = true
				}
				for id, r := range last {
					if r.Gone == "" && !known[id+r.Current.String()+r.Recommended.String()] {
						t.Fatalf("what was said last of %s is lost: %s to %s", id, r.Current, r.Recommended)
					}
				}
			},
		})
	})
}
