package ticket

import (
	"context"
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/fettleops/fettle/ops"
)

//go:embed change.tmpl
var changeText string

var changeTemplate = template.Must(template.New("change").Option("missingkey=error").Funcs(template.FuncMap{
	"indent": func(s string) string { return strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n  ") },
}).Parse(changeText))

// shownAffected bounds the blast radius that is listed; the rest is counted.
const shownAffected = 50

type changeDescription struct {
	Change             ops.Change
	By, Ask            string
	Analysis, Affected []string
	PlanText, Rollback string
	Effort, Window     string
	Links              []ops.Link
}

// describeChange writes the whole analysis of a change with the plan that
// stands, empty when none is made yet, and returns that plan.
func (r *Room) describeChange(ctx context.Context, c ops.Change, planText string, kind ops.TicketKind) (string, ops.Plan, error) {
	var plan ops.Plan
	plans, err := r.Ask.Plans(ctx, c.ID)
	if err != nil {
		return "", plan, fmt.Errorf("ticket: ask for the plans of %s: %w", c.Key(), err)
	}
	for _, p := range plans {
		if p.Revision == c.Revision && p.Digest == c.PlanDigest && p.Digest != "" {
			plan = p
		}
	}
	d := changeDescription{
		Change: c, By: orElse(c.RequestedBy, "Fettle"), Affected: affected(c, plan), PlanText: orElse(planText, plan.Text),
		Rollback: rollbackText(plan), Effort: effort(plan), Window: windowText(c.Window),
	}
	if kind == ops.TicketWorkOrder {
		d.Ask = "Please give this change a window: set the planned start and end of this work order."
	}
	if c.Runbook != "" {
		d.By = "runbook " + c.Runbook
	}
	if c.Trigger != nil {
		d.Analysis = append(d.Analysis, "Trigger: "+condition(*c.Trigger))
	}
	if at := r.changeLink(c); at != "" {
		d.Links = append(d.Links, ops.Link{Title: "Change in Fettle", URL: at})
	}
	var b strings.Builder
	if err := changeTemplate.Execute(&b, d); err != nil {
		return "", plan, fmt.Errorf("ticket: describe %s: %w: %w", c.Key(), err, ops.ErrInternal)
	}
	text := b.String()
	if len(text) > maxDescription {
		text = strings.ToValidUTF8(text[:maxDescription], "") + "\n... cut here; the whole is in Fettle.\n"
	}
	return text, plan, nil
}

// affected lists the blast radius: what the plan touches, or the resource.
func affected(c ops.Change, plan ops.Plan) []string {
	var out []string
	for n, a := range plan.Actions {
		if n == shownAffected {
			out = append(out, fmt.Sprintf("and %d more", len(plan.Actions)-n))
			break
		}
		line := a.Verb + " " + orElse(a.Resource, c.Resource)
		if a.Replace {
			line += " (replaced)"
		}
		out = append(out, line)
	}
	if len(out) == 0 && c.Resource != "" {
		out = append(out, c.Resource)
	}
	return out
}

// rollbackText says how a plan is undone.
func rollbackText(plan ops.Plan) string {
	if len(plan.Rollback) == 0 {
		return "It cannot be undone by itself."
	}
	var out []string
	for _, a := range plan.Rollback {
		out = append(out, actionText(a))
	}
	return strings.Join(out, "\n")
}

// actionText says what an action changes.
func actionText(a ops.PlanAction) string {
	line := "- " + a.Verb + " " + a.Resource
	for _, k := range sortedKeys(a.Before, a.After) {
		line += fmt.Sprintf("\n    %s: %s -> %s", k, orElse(a.Before[k], "none"), orElse(a.After[k], "none"))
	}
	if len(a.Args) > 0 {
		line += "\n    " + strings.Join(a.Args, " ")
	}
	return line
}

func effort(plan ops.Plan) string {
	say := func(secs int) string {
		if secs <= 0 {
			return "unknown"
		}
		return (time.Duration(secs) * time.Second).String()
	}
	return fmt.Sprintf("apply %s, roll back %s", say(plan.ApplySecs), say(plan.RollbackSecs))
}

// sortedKeys returns the keys of two maps, each once, in order.
func sortedKeys(a, b map[string]string) []string {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}
