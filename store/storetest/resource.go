package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/ops"
)

var resourceRules = []rule{
	{
		name:  "resource/resolve",
		why:   "alerts of one machine must meet in one resource whatever name each sender uses",
		check: resolves,
	},
	{
		name:  "resource/batch",
		why:   "a thousand alerts arrive in one request, many about the same new machine",
		check: resolvesBatch,
	},
	{
		name:  "resource/merge",
		why:   "locks and limits hang on a resource's id, so two become one by an explicit, recorded rule only, and the old id must still lead there",
		check: merges,
	},
	{
		name:  "resource/siblings",
		why:   "a changed resource is compared with those like it that nothing was done to; one that was changed too would hide the harm",
		check: siblings,
	},
	{
		name:  "setting/installation",
		why:   "ids in outside platforms derive from the installation; two of them would open every ticket twice",
		check: installation,
	},
}

func (h *house) resolve(refs ...ops.ResourceRef) []string {
	h.t.Helper()
	var ids []string
	h.write(func(tx db.Tx) (err error) {
		ids, err = h.store.ResolveResources(h.ctx, tx, refs)
		return err
	})
	return ids
}

func ref(aliases ...string) ops.ResourceRef { return ops.ResourceRef{Kind: "host", Aliases: aliases} }

func resolves(t *testing.T, h *house) {
	web := h.resolve(ref("host:web-1"))[0]
	if web == "" || h.resolve(ref("host:web-1"))[0] != web {
		t.Error("one alias gave two resources")
	}
	if h.resolve(ref("arn:i-1", "host:web-1"))[0] != web || h.resolve(ref("arn:i-1"))[0] != web {
		t.Error("an alias learned with a known one is not kept")
	}
	db1 := h.resolve(ref("host:db-1"))[0]
	if h.resolve(ref("host:db-1", "arn:i-1"))[0] != db1 || h.resolve(ref("arn:i-1", "host:db-1"))[0] != web {
		t.Error("of several known aliases the first does not decide")
	}
	if h.resolve(ref("arn:i-1"))[0] != web {
		t.Error("a sender's mix-up moved an alias")
	}
	got, err := h.store.Resource(h.ctx, "arn:i-1")
	if err != nil || got.ID != web || got.Name != "web-1" || got.Kind != "host" || !slices.Equal(got.Aliases, []string{"arn:i-1", "host:web-1"}) {
		t.Errorf("read back as %+v, %v", got, err)
	}
	if ids := h.resolve(ops.ResourceRef{}, ops.ResourceRef{ID: web}, ops.ResourceRef{Aliases: []string{""}}); !slices.Equal(ids, []string{"", web, ""}) {
		t.Errorf("empty and resolved refs gave %q", ids)
	}
	named := ops.ResourceRef{Kind: "service", Name: "checkout"}
	if ids := h.resolve(named, named, ops.ResourceRef{Kind: "team", Name: "checkout"}); ids[0] == "" || ids[0] != ids[1] || ids[0] == ids[2] {
		t.Errorf("names gave %q", ids)
	}
	h.write(func(tx db.Tx) error {
		return h.store.DescribeResource(h.ctx, tx, ops.Resource{ID: web, Labels: map[string]string{"team": "ops"}, DependsOn: []string{db1}})
	})
	got, err = h.store.Resource(h.ctx, web)
	if err != nil || got.Kind != "host" || got.Labels["team"] != "ops" || !slices.Equal(got.DependsOn, []string{db1}) {
		t.Errorf("described as %+v, %v", got, err)
	}
	_, err = h.store.Resource(h.ctx, "host:none")
	wantClass(t, "unknown resource", err, ops.ErrNotFound)
}

func resolvesBatch(t *testing.T, h *house) {
	refs := make([]ops.ResourceRef, 1000)
	for i := range refs {
		refs[i] = ref(fmt.Sprintf("host:h-%d", i%600), fmt.Sprintf("arn:a-%d", i%600))
	}
	ids := h.resolve(refs...)
	for i, id := range ids {
		if id == "" || id != ids[i%600] || i > 0 && i < 600 && id == ids[0] {
			t.Fatalf("ref %d gave %q", i, id)
		}
	}
	if n := h.count("SELECT COUNT(*) FROM resource"); n != 600 {
		t.Errorf("%d resources, want 600", n)
	}
	together(func(i int) {
		err := h.db.Write(h.ctx, func(tx db.Tx) error {
			got, err := h.store.ResolveResources(h.ctx, tx, []ops.ResourceRef{ref(fmt.Sprintf("host:h-%d", i), "host:new"), ref("host:newer")})
			if err == nil && got[0] != ids[i] {
				err = fmt.Errorf("h-%d gave %s", i, got[0])
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
	if n := h.count("SELECT COUNT(*) FROM resource"); n != 601 {
		t.Errorf("%d resources, want 601", n)
	}
}

func merges(t *testing.T, h *house) {
	ids := h.resolve(ref("host:a"), ref("host:b"), ref("host:c"))
	merge := func(keep, other string) error {
		return h.db.Write(h.ctx, func(tx db.Tx) error {
			return h.store.MergeResources(h.ctx, tx, ops.SystemPrincipal, keep, other, "same instance id")
		})
	}
	must(t, merge(ids[1], ids[0]))
	must(t, merge(ids[2], ids[1]))
	if n, err := h.store.CountResources(h.ctx); n != 1 || err != nil {
		t.Errorf("%d resources after the merges, %v", n, err)
	}
	for _, name := range []string{ids[0], ids[1], ids[2], "host:a", "host:b", "host:c"} {
		if got, err := h.store.Resource(h.ctx, name); got.ID != ids[2] || err != nil {
			t.Errorf("%s leads to %s, %v", name, got.ID, err)
		}
	}
	if got := h.resolve(ref("host:a"))[0]; got != ids[2] {
		t.Errorf("a merged alias resolves to %s", got)
	}
	wantClass(t, "merging what is merged", merge(ids[2], ids[0]), ops.ErrNotFound)
	wantClass(t, "merging with itself", merge(ids[2], ids[2]), ops.ErrInvalid)
	wantClass(t, "merging the unknown", merge(ids[2], "none"), ops.ErrNotFound)
	facts, err := h.store.FactsAbout(h.ctx, "resource/"+ids[2])
	if len(facts) != 1 || err != nil || facts[0].Kind != ops.ResourceMerged {
		t.Errorf("facts about the merge: %+v, %v", facts, err)
	}
}

func installation(t *testing.T, h *house) {
	ids := make([]string, crowd)
	together(func(i int) {
		id, err := h.store.Installation(h.ctx)
		if err != nil {
			t.Error(err)
		}
		ids[i] = id
	})
	if slices.Sort(ids); ids[0] == "" || ids[0] != ids[crowd-1] {
		t.Errorf("installations %q and %q", ids[0], ids[crowd-1])
	}
}

func siblings(t *testing.T, h *house) {
	labels := []map[string]string{
		{"team": "web", "service": "shop"},
		{"team": "web", "service": "shop", "env": "test"},
		{"team": "web", "service": "mail"},
		{"team": "web"},
		nil,
		nil,
		{"team": "web", "service": "shop"},
	}
	var refs []ops.ResourceRef
	for i := range labels {
		kind := "host"
		if i == 6 {
			kind = "database"
		}
		refs = append(refs, ops.ResourceRef{Kind: kind, Name: fmt.Sprint("x", i), Aliases: []string{fmt.Sprint("host:x", i)}})
	}
	ids := h.resolve(refs...)
	h.write(func(tx db.Tx) error {
		for i, id := range ids {
			if err := h.store.DescribeResource(h.ctx, tx, ops.Resource{ID: id, Labels: labels[i]}); err != nil {
				return err
			}
		}
		return nil
	})
	like := func(i int, want ...string) {
		t.Helper()
		own, err := h.store.Resource(h.ctx, ids[i])
		must(t, err)
		got, err := h.store.ResourcesLike(h.ctx, own)
		must(t, err)
		if !slices.Equal(got, want) {
			t.Errorf("like x%d are %v, want %v", i, got, want)
		}
	}
	like(0, ids[1])
	like(1, ids[0])
	like(2)
	like(3)
	like(4) // two without labels have nothing in common
	like(6)

	now := h.clock()
	touched := func(from, to time.Time, want bool) {
		t.Helper()
		got, err := h.store.ResourcesTouched(h.ctx, from, to)
		must(t, err)
		if got["r1"] != want || got[""] {
			t.Errorf("touched in %s to %s: %v, want r1 %v", from, to, got, want)
		}
	}
	touched(now.Add(-time.Hour), now.Add(time.Hour), false)
	c, p := h.aChange(1, "r1")
	c.Run = &ops.Run{ID: "run1", PlanID: p.ID, State: ops.RunRunning, StartedAt: now}
	must(t, h.saveChange(c, p))
	touched(now.Add(-time.Hour), now.Add(time.Hour), true)
	touched(now.Add(time.Hour), now.Add(2*time.Hour), true) // it has not ended
	done := h.readChange("c1")
	done.State, done.Run.State = ops.ChangeClosed, ops.RunSucceeded
	must(t, h.saveChange(done, p))
	touched(now, now.Add(time.Hour), true)
	touched(now.Add(time.Hour), now.Add(2*time.Hour), false)
	touched(now.Add(-time.Hour), now, false)
}
