// Package densify takes optimisation recommendations: of Densify (Kubex), by
// the webhook of ITSM-Controlled-Continuous-Optimization (ICCO), of AWS Compute
// Optimizer, and from the parameters ICCO keeps in the AWS Parameter Store.
//
// A recommendation never does anything by itself: it is kept, and a rule of the
// configuration may place it in a change. An entry that cannot be read is kept
// too, with the reason, and does not cost the others of its delivery.
package densify

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/ops"
)

// Driver is the source `densify`.
var Driver = intake.Define("densify", Open)

// Open makes the source of one integration.
func Open(options intake.Decoder, env intake.Env) (intake.Source, error) {
	var c Config
	if err := options.Decode(&c); err != nil {
		return nil, err
	}
	c.Defaults()
	if err := c.check(); err != nil {
		return nil, err
	}
	return &source{config: c, env: env, session: newSession()}, nil
}

type source struct {
	config  Config
	env     intake.Env
	session *session
}

// The paths of ICCO below the integration's own.
const (
	pathInsights = "/load-insights"
	pathApprove  = "/approve"
	pathClose    = "/close"
)

// maxBody bounds a delivery: the night's recommendations of an estate come in
// one array, and Densify repeats nothing that is refused.
const maxBody = 16 << 20

// Terms implements intake.Termed.
func (s *source) Terms() intake.Terms {
	return intake.Terms{Paths: []string{"", pathInsights, pathApprove, pathClose}, Body: maxBody, Decompressed: maxBody}
}

// Decode implements intake.Source. The form tells the producer, so that one
// integration may take them all at its own path.
func (s *source) Decode(r *intake.Request) (intake.Delivery, error) {
	body := bytes.TrimSpace(r.Body)
	switch {
	case r.Path == pathApprove || r.Path == pathClose:
		return s.hint(r)
	case len(body) > 0 && body[0] == '[':
		return s.insights(r)
	case r.Path == pathInsights:
		return intake.Delivery{}, &intake.Fault{Field: "body", Fix: "send an array of recommendations"}
	}
	doc, err := open(r.Body)
	switch {
	case err != nil:
		return intake.Delivery{}, intake.NotJSON(err, "an array of recommendations, an answer of Compute Optimizer, or an event of Parameter Store")
	case doc.has("detail-type"):
		return s.event(r, doc)
	case doc.has("instanceRecommendations"), doc.has("autoScalingGroupRecommendations"), doc.has("rdsDBRecommendations"):
		return s.optimizer(r, doc)
	}
	return intake.Delivery{}, &intake.Fault{Field: "body", Fix: "send an array of recommendations, an answer of Compute Optimizer (get-ec2-, get-auto-scaling-group- or get-rds-database-recommendations), or an event of Parameter Store"}
}

// collect makes a delivery of recommendations. Of several with one identity the
// last counts: two of them in one delivery would race each other.
func (s *source) collect(r *intake.Request, list []ops.Recommendation) intake.Delivery {
	var out intake.Delivery
	at := map[string]int{}
	unreadable, repeated, foreign := 0, 0, 0
	for _, x := range list {
		x.Integration = r.Integration
		if x.Fault == "" && r.Accounts != nil && !slices.Contains(r.Accounts, x.Account) {
			x.Fault = fmt.Sprintf("the sender's credential is for %s, and this is about account %s", strings.Join(r.Accounts, ", "), x.Account)
			foreign++
		} else if x.Fault != "" {
			unreadable++
		}
		if x.Fault != "" {
			x.Wants, x.Gone = "", ""
		}
		id := x.Identity()
		if i, twice := at[id]; twice {
			out.Signals[i].Recommendation = &x
			repeated++
			continue
		}
		at[id] = len(out.Signals)
		out.Signals = append(out.Signals, ops.Signal{Recommendation: &x})
	}
	var notes []string
	for _, n := range []struct {
		count int
		what  string
	}{
		{unreadable, "cannot be read and are kept with the reason"},
		{foreign, "are about an account the sender does not speak for"},
		{repeated, "are about a value that a later entry is about, too"},
	} {
		if n.count > 0 {
			notes = append(notes, fmt.Sprintf("%d of %d entries %s", n.count, len(list), n.what))
		}
	}
	out.Note = strings.Join(notes, "; ")
	return out
}

// Diagnose implements intake.Diagnoser. Densify's webhook sends basic
// authentication or a bearer token, an EventBridge connection also a header.
func (s *source) Diagnose(auth intake.AuthConfig) []intake.Finding {
	return intake.Unsendable("Densify", auth, "accounts", "basic", "bearer", "header")
}
