package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/fettleops/fettle/config"
	"github.com/fettleops/fettle/detect"
	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/policy"
	"github.com/fettleops/fettle/store"
	"github.com/fettleops/fettle/verify"
	"github.com/fettleops/fettle/verify/check"
)

// metricRules turns verify.metrics into the verify room's.
func metricRules(c *config.Config) ([]verify.MetricRule, error) {
	var out []verify.MetricRule
	for i, m := range c.Verify.Metrics {
		d, err := verify.ParseDirection(m.Worse)
		if err != nil {
			return nil, fmt.Errorf("verify.metrics[%d].worse: %w", i, err)
		}
		rule := verify.MetricRule{Name: m.Name, Worse: d}
		if m.Match != "" {
			if rule.Match, err = policy.Compile(policy.Effect, m.Match); err != nil {
				return nil, fmt.Errorf("verify.metrics[%d].match: %w", i, err)
			}
		}
		out = append(out, rule)
	}
	return out, nil
}

// healthRules opens the checks of verify.checks. It calls nobody.
func (a *App) healthRules(ctx context.Context) ([]verify.HealthRule, error) {
	var out []verify.HealthRule
	for i, c := range a.Config.Verify.Checks {
		rule := verify.HealthRule{Name: c.Name, Times: c.Times, SilenceFails: c.NoAnswer == "failing"}
		var err error
		if c.Match != "" {
			if rule.Match, err = policy.Compile(policy.Change, c.Match); err != nil {
				return nil, fmt.Errorf("verify.checks[%d].match: %w", i, err)
			}
		}
		if rule.Check, err = a.openCheck(ctx, c); err != nil {
			return nil, fmt.Errorf("verify.checks[%d] (%s): %w", i, c.Name, err)
		}
		out = append(out, rule)
	}
	return out, nil
}

func (a *App) openCheck(ctx context.Context, c config.VerifyCheck) (check.Check, error) {
	switch {
	case c.HTTP != nil:
		h, err := httpCheck(*c.HTTP)
		if err != nil {
			return nil, err
		}
		h.Transport, h.Logger = a.Transport, a.Logger.With(slog.String("check", c.Name))
		return check.OpenHTTP(h)
	case c.Alarm != nil:
		return check.OpenAlarm(ctx, alarmCheck(*c.Alarm), awsx.Env{Session: "verify", Transport: a.Transport, Secret: references{}.Resolve})
	}
	return check.OpenMetric(c.Metric, a.History)
}

func httpCheck(c config.VerifyHTTP) (check.HTTP, error) {
	h := check.HTTP{URL: c.URL, Status: c.ExpectStatus, Body: c.ExpectBody, Timeout: c.Timeout.D}
	for _, s := range c.Allow {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return h, fmt.Errorf("allow %q: %w: %w", s, err, ops.ErrInvalid)
		}
		h.Allow = append(h.Allow, p)
	}
	return h, nil
}

func alarmCheck(c config.VerifyAlarm) check.Alarm {
	return check.Alarm{Name: c.Name, Config: awsx.Config{Region: c.Region, Role: c.Role, ExternalID: c.ExternalID.String(), Endpoint: c.Endpoint}}
}

// checkVerification finds what is wrong with verify, without I/O.
func checkVerification(c *config.Config) error {
	_, err := metricRules(c)
	faults := []error{err}
	for i, x := range c.Verify.Checks {
		var err error
		switch {
		case x.HTTP != nil:
			h, fault := httpCheck(*x.HTTP)
			if err = fault; err == nil {
				_, err = check.OpenHTTP(h)
			}
		case x.Alarm != nil:
			a := alarmCheck(*x.Alarm)
			err = a.Validate()
		default:
			_, err = check.OpenMetric(x.Metric, nil)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("verify.checks[%d] (%s): %w", i, x.Name, err))
		}
	}
	return errors.Join(faults...)
}

// estate answers what the verify room asks about resources.
type estate struct{ store *store.Store }

// Resource returns a resource.
func (e estate) Resource(ctx context.Context, id string) (ops.Resource, error) {
	return e.store.Resource(ctx, id)
}

// Siblings returns the resources of the same kind with the same team and
// service; where there is none, those that the detectors watch in a group with
// this one. Resources on which a change ran in the span are left out.
func (e estate) Siblings(ctx context.Context, resourceID string, from, to time.Time, limit int) ([]string, error) {
	own, err := e.store.Resource(ctx, resourceID)
	if err != nil {
		return nil, err
	}
	alike, err := e.store.ResourcesLike(ctx, own)
	if err != nil {
		return nil, err
	}
	if len(alike) == 0 {
		if alike, err = e.watchedWith(ctx, own, 4*limit); err != nil {
			return nil, err
		}
	}
	touched, err := e.store.ResourcesTouched(ctx, from, to)
	if err != nil {
		return nil, err
	}
	alike = slices.DeleteFunc(alike, func(id string) bool { return touched[id] })
	return alike[:min(limit, len(alike))], nil
}

// watchedWith returns resources that are in a group of the detectors with this
// one, at most limit.
func (e estate) watchedWith(ctx context.Context, own ops.Resource, limit int) ([]string, error) {
	var groups, out []string
	all, err := e.store.Watched(ctx)
	if err != nil {
		return nil, err
	}
	for _, w := range all {
		if slices.Contains(own.Aliases, detect.ResourceOf(w.Entity).Aliases[0]) {
			groups = append(groups, w.Group)
		}
	}
	for _, w := range all {
		alias := detect.ResourceOf(w.Entity).Aliases[0]
		if len(out) >= limit || !slices.Contains(groups, w.Group) || slices.Contains(own.Aliases, alias) {
			continue
		}
		r, err := e.store.Resource(ctx, alias)
		if err != nil && !errors.Is(err, ops.ErrNotFound) {
			return nil, err
		}
		if err == nil && r.ID != own.ID && !slices.Contains(out, r.ID) {
			out = append(out, r.ID)
		}
	}
	slices.SortFunc(out, cmp.Compare)
	return out, nil
}
