package servicenow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/fettleops/fettle/ops"
)

// Check implements connector.Checker. It asks for everything the driver needs
// and writes nothing, so that it cannot tell whether incidents may be written.
func (p *platform) Check(ctx context.Context) error {
	// Without an answer or an account, everything else fails the same way.
	if _, err := p.c.list(ctx, incidentTable, p.m.lastQuery("correlation_display"), view(p.fields()), 0, 1); err != nil {
		return fmt.Errorf("%w%s", err, hint(err))
	}
	var faults []error
	add := func(err error) {
		if err != nil {
			faults = append(faults, err)
		}
	}
	if _, err := p.me(ctx); err != nil {
		add(err)
	}
	add(p.checkZone(ctx))
	if _, err := p.latest(ctx); err != nil {
		add(err)
	}
	o := p.m.options
	for _, code := range append([]string{o.CloseCode}, slices.Sorted(maps.Values(o.CloseCodes))...) {
		add(p.checkChoice(ctx, "close_code", code))
	}
	add(p.checkChoice(ctx, "hold_reason", strconv.Itoa(o.HoldReason)))
	for _, r := range references {
		_, err := p.c.list(ctx, r.table, "ORDERBYsys_id", view([]string{"sys_id", r.name}), 0, 1)
		if err != nil {
			add(fmt.Errorf("without %s no %s can be set: %w", r.table, r.what, err))
		}
	}
	if c := o.Changes; c != nil {
		for _, word := range ops.RiskWords {
			add(p.checkChangeChoice(ctx, "risk", "changes.risks", c.risks()[word]))
		}
		for _, outcome := range []ops.Outcome{ops.Successful, ops.SuccessfulWithIssues, ops.Unsuccessful} {
			add(p.checkChangeChoice(ctx, "close_code", "changes.close_codes", c.closeCodes()[outcome]))
		}
		faults = append(faults, p.checkTasks(ctx)...)
	}
	return errors.Join(faults...)
}

// checkZone returns an error when times in our queries would be read in
// another zone than UTC: pulls would begin hours too late and lose edits.
func (p *platform) checkZone(ctx context.Context) error {
	self, err := p.whoami(ctx)
	if err != nil {
		return err
	}
	if len(self) == 0 {
		p.env.Log.LogAttrs(ctx, slog.LevelDebug, "own user not readable, time zone not checked")
		return nil
	}
	if zone := zoneFault(self); zone != "" {
		// Asked again next time: somebody will put it right.
		p.mu.Lock()
		p.self = nil
		p.mu.Unlock()
		return fmt.Errorf("the time zone of user %s is %s; set it to GMT, because the instance reads times in queries in it: %w", self.get("user_name"), zone, ops.ErrInvalid)
	}
	return nil
}

// hint says what to do about an instance that cannot be reached.
func hint(err error) string {
	text := strings.ToLower(err.Error())
	for _, h := range []struct{ sign, advice string }{
		{"no such host", "the host of url does not exist: look for a typing mistake, and whether this machine can resolve names"},
		{"certificate", "the connection is not trusted: is there a proxy in between, or a certificate of your own to be trusted?"},
		{"x509", "the connection is not trusted: is there a proxy in between, or a certificate of your own to be trusted?"},
		{"server gave http response to https", "the server does not speak TLS there: is url right?"},
		{"does not look like a tls handshake", "the server does not speak TLS there: is url right?"},
		{"connection refused", "nothing listens at url: look at host and port"},
		{"deadline exceeded", "no answer in time: does a firewall let this machine reach the instance?"},
	} {
		if strings.Contains(text, h.sign) {
			return " (" + h.advice + ")"
		}
	}
	return ""
}
