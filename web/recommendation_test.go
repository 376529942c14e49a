package web_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/web/webtest"
)

func TestRecommendationsSayWhyNotPlaced(t *testing.T) {
	h := webtest.New(t)
	r := h.Reader("vic")
	p := r.Get("/recommendations")
	for _, want := range []string{"REC-1", "m5.xlarge \u2192 m5.large", "c5.large, 4 to 10 \u2192 c5.large, 2 to 6", "61.20 USD per month", "\u221244.50 USD per month", "the only rule does not match", "missing: serviceType, resourceId", "11.90", "12.40", "96%"} {
		if !strings.Contains(p.Text("main"), want) {
			t.Errorf("the list does not show %q: %s", want, p.Text("main"))
		}
	}
	p = r.Get("/recommendations?view=unplaced&q=ledger")
	if s := p.Text("table"); !strings.Contains(s, "ledger-db") || strings.Contains(s, "export-workers") {
		t.Errorf("filtered: %s", s)
	}
	p = r.Get("/recommendations/rec-1")
	for _, want := range []string{"In a change", "rule ec2 places REC-1", "99.1%", "stack/web/5b1", "REC-1 came: m5.xlarge to m5.large"} {
		if !strings.Contains(p.Text("main"), want) {
			t.Errorf("one does not show %q: %s", want, p.Text("main"))
		}
	}
	if len(p.All("form[action$='/dismiss']")) != 0 {
		t.Error("a viewer may dismiss")
	}
	if p := r.Get("/recommendations/REC-99"); p.Status != http.StatusNotFound {
		t.Errorf("a missing one is %d", p.Status)
	}
}

func TestDismissARecommendation(t *testing.T) {
	h := webtest.New(t)
	r := h.Reader("max")
	if len(r.Get("/recommendations/REC-1").All("form[action$='/dismiss']")) != 0 {
		t.Error("an approver may cancel the change with it")
	}
	p := r.Get("/recommendations/REC-2")
	if p = r.Submit(p, "form[action$='/dismiss']", url.Values{"reason": {" "}}); p.Status != http.StatusUnprocessableEntity || !strings.Contains(p.Text("main"), "needs a reason") {
		t.Fatalf("without a reason: %d %s", p.Status, p.Text("main"))
	}
	p = r.Submit(p, "form[action$='/dismiss']", url.Values{"reason": {"it is about to be replaced"}})
	if p.Status != http.StatusOK || !strings.Contains(p.Text("main"), "dismissed by Max Keller: it is about to be replaced") {
		t.Fatalf("%d %s", p.Status, p.Text("main"))
	}
	x, err := h.Store.Recommendation(t.Context(), "REC-2")
	if err != nil || x.State != ops.RecommendationWithdrawn {
		t.Errorf("%+v, %v", x.State, err)
	}
}
