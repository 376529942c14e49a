package rds

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"

	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/ops"
)

// impatient is how many looks or lost answers in a row there may be before
// nobody knows any more.
const impatient = 20

// moving reports whether the service is at work on the database. The statuses
// are many and grow; those at rest are few.
func (d database) moving() bool {
	return !slices.Contains([]string{available, optimizing, full, stopped}, d.Status) && !d.broken()
}

// broken reports a status out of which only a person helps.
func (d database) broken() bool {
	return d.Status == "failed" || d.Status == "inaccessible-encryption-credentials" || d.Status == "restore-error" || strings.HasPrefix(d.Status, "incompatible-")
}

// ours are the pending changes that are wanted.
func (d database) ours(want map[string]string) []string {
	var out []string
	for k := range d.Pending {
		if _, ok := want[k]; ok {
			out = append(out, k)
		}
	}
	return out
}

// way is what one call remembers on its way.
type way struct {
	began time.Time
	told  map[string]time.Time // when a step was taken
	seen  map[string]bool      // the statuses since the last step
}

// later is the step of waiting.
const later = "later"

// reach looks at the database, takes the next step and looks again, until it
// stands as wanted. When ctx ends or the time is up, no step is taken any more,
// and what the service is at is waited for: it cannot be called off.
func (r *run) reach(ctx context.Context) error {
	left := r.m.At.Add(r.cfg.Timeout).Sub(r.env.Clock())
	ctx, cancel := context.WithTimeoutCause(ctx, left, fmt.Errorf("it timed out after %s", r.cfg.Timeout))
	defer cancel()
	live := context.WithoutCancel(ctx)
	w := way{began: r.env.Clock(), told: map[string]time.Time{}, seen: map[string]bool{}}
	var until time.Time
	for failed := 0; ; r.wait(ctx, !until.IsZero()) {
		d, err := r.describe(live, r.id)
		if errors.Is(err, ops.ErrNotFound) {
			return err
		}
		step := later
		if err == nil {
			r.tell(live, d)
			if step, err = r.next(&w, d); err != nil {
				return err
			}
			if step == "" {
				return r.arrived(ctx, d, until)
			}
		}
		over := ctx.Err() != nil
		switch {
		case over && err == nil && step != later:
			return fmt.Errorf("rds: database %s: stopped before %s: %w: %w", r.id, step, context.Cause(ctx), ops.ErrUnavailable)
		case over && until.IsZero():
			until = r.env.Clock().Add(r.cfg.Grace)
			r.say("Waiting until database %s has settled (%v): this cannot be called off", r.id, context.Cause(ctx))
		case over && r.env.Clock().After(until):
			return &ops.UnknownOutcome{Err: fmt.Errorf("rds: database %s has not settled %s after this: %w: %w", r.id, r.cfg.Grace, context.Cause(ctx), ops.ErrUnavailable)}
		}
		if err == nil && step != later {
			err = r.take(live, &w, d, step)
			if known := final(err); known != nil {
				return known
			}
		}
		if err == nil {
			failed = 0
		} else if failed++; failed >= impatient {
			if errors.Is(err, ops.ErrConflict) || awsx.Code(err) == wrongState {
				return err
			}
			return &ops.UnknownOutcome{Err: err}
		}
	}
}

// arrived tells what is reached in time from what is reached although it was
// cancelled: that is a failure, which the rollback undoes.
func (r *run) arrived(ctx context.Context, d database, until time.Time) error {
	if until.IsZero() {
		return nil
	}
	return fmt.Errorf("rds: database %s is %s all the same, because that could not be called off; roll back to undo it: %w: %w", d.ID, r.goal(), context.Cause(ctx), ops.ErrUnavailable)
}

// wait waits until the next look, or until ctx ends for the first time.
func (r *run) wait(ctx context.Context, over bool) {
	t := time.NewTimer(r.cfg.Poll)
	defer t.Stop()
	if over {
		<-t.C
		return
	}
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// next is the step a database needs, empty when it stands as wanted.
func (r *run) next(w *way, d database) (string, error) {
	w.seen[d.Status] = true
	if d.broken() {
		return "", fmt.Errorf("rds: database %s is %s: %w", d.ID, d.Status, ops.ErrStalled)
	}
	if d.moving() {
		return later, nil
	}
	if state, ok := r.to[attributeState]; ok {
		return r.nextState(w, d, state)
	}
	var missing []string
	for _, k := range slices.Sorted(maps.Keys(r.to)) {
		if !d.has(k, r.to[k]) {
			missing = append(missing, k)
		}
	}
	switch at, told := w.told["modify"]; {
	case d.Status == stopped:
		return "", fmt.Errorf("rds: database %s was stopped by somebody else on the way: %w", d.ID, ops.ErrConflict)
	case len(d.ours(r.to)) > 0 || len(missing) == 0 && len(d.Pending) > 0:
		return later, nil // taken, and not applied yet
	case len(missing) > 0 && !told:
		return "modify", nil
	case len(missing) > 0 && (w.seen["modifying"] || r.env.Clock().After(at.Add(r.cfg.Settle))):
		return "", fmt.Errorf("rds: the service has ended the modification of database %s without %s: %w", d.ID, strings.Join(missing, ", "), ops.ErrStalled)
	case len(missing) > 0:
		return later, nil
	}
	if _, ok := r.to[attributeGroup]; ok {
		switch d.Applied {
		case "in-sync":
		case "pending-reboot":
			if _, told := w.told["reboot"]; r.m.Sent && !told {
				w.told["reboot"] = w.began // by an earlier call
			}
			return r.again(w, "reboot", d)
		default:
			return later, nil
		}
	}
	return "", nil
}

// nextState is the step of a database that is stopped, started or rebooted.
func (r *run) nextState(w *way, d database, state string) (string, error) {
	switch {
	case state == rebooted:
		return r.nextReboot(w, d)
	case d.has(attributeState, state):
		return "", nil
	case state == stopped:
		return r.again(w, "stop", d)
	}
	return r.again(w, "start", d)
}

// again takes a step once, and waits until it shows.
func (r *run) again(w *way, step string, d database) (string, error) {
	at, told := w.told[step]
	switch {
	case !told:
		return step, nil
	case r.env.Clock().After(at.Add(r.cfg.Settle)):
		return "", fmt.Errorf("rds: database %s was told to %s and is %s after %s: %w", d.ID, step, d.Status, r.cfg.Settle, ops.ErrStalled)
	}
	return later, nil
}

// nextReboot takes one reboot and no second: the one step that is not seen by
// how the database stands. That it has happened shows in its status or in an
// event.
func (r *run) nextReboot(w *way, d database) (string, error) {
	at, told := w.told["reboot"]
	switch {
	case w.seen["rebooting"] || r.heardRestart():
		return "", nil
	case d.Status == stopped:
		return "", fmt.Errorf("rds: database %s was stopped by somebody else on the way: %w", d.ID, ops.ErrConflict)
	case !told && !r.m.Sent:
		return "reboot", nil
	case !told: // by an earlier call
		at = w.began
	}
	if r.env.Clock().After(at.Add(r.cfg.Settle)) {
		return "", &ops.UnknownOutcome{Err: fmt.Errorf("rds: nobody knows whether database %s was rebooted at %s; look at its events: %w", d.ID, r.m.At.Format(time.RFC3339), ops.ErrUnavailable)}
	}
	return later, nil
}

// tell says the status when it is new, and every new event.
func (r *run) tell(ctx context.Context, d database) {
	line := fmt.Sprintf("database %s is %s", d.ID, d.Status)
	if len(d.Pending) > 0 {
		line += ", pending: " + list(d.Pending)
	}
	if line != r.said {
		r.say("%s", line)
		r.said = line
	}
	for _, e := range r.events(ctx) {
		key := aws.ToTime(e.Date).UTC().Format(time.RFC3339Nano) + " " + aws.ToString(e.Message)
		if !aws.ToTime(e.Date).After(r.m.Since) || r.heard[key] {
			continue
		}
		if r.heard == nil {
			r.heard = map[string]bool{}
		}
		r.heard[key] = true
		r.say("%s %s", aws.ToTime(e.Date).UTC().Format(time.TimeOnly), aws.ToString(e.Message))
	}
}

// heardRestart reports an event that says so. Its wording is the service's.
func (r *run) heardRestart() bool {
	for key := range r.heard {
		if strings.Contains(strings.ToLower(key), "restarted") {
			return true
		}
	}
	return false
}

// events are what the service says of the last hour and of the run. It only
// tells the story, so that not being able to read it stops nothing.
func (r *run) events(ctx context.Context) []types.Event {
	minutes := int32(r.env.Clock().Sub(r.m.At)/time.Minute) + 60
	in := &rds.DescribeEventsInput{SourceIdentifier: &r.id, SourceType: types.SourceTypeDbInstance, Duration: &minutes}
	var out []types.Event
	for {
		page, err := r.client.DescribeEvents(ctx, in)
		if err != nil {
			if !r.deaf {
				r.warn(ctx, "events of a database not read", err)
			}
			r.deaf = true
			return out
		}
		out = append(out, page.Events...)
		if aws.ToString(page.Marker) == "" {
			return out
		}
		in.Marker = page.Marker
	}
}

// newest is the time of the last event there was.
func (r *run) newest(ctx context.Context) (at time.Time) {
	for _, e := range r.events(ctx) {
		if d := aws.ToTime(e.Date); d.After(at) {
			at = d
		}
	}
	return at
}

// take takes one step.
func (r *run) take(ctx context.Context, w *way, d database, step string) error {
	var call func() error
	switch step {
	case "modify":
		in := r.modification(d)
		r.say("Modifying database %s: %s", r.id, r.goal())
		call = func() error { _, err := r.client.ModifyDBInstance(ctx, in, once); return err }
	case "stop":
		r.say("Stopping database %s", r.id)
		call = func() error {
			_, err := r.client.StopDBInstance(ctx, &rds.StopDBInstanceInput{DBInstanceIdentifier: &r.id}, once)
			return err
		}
	case "start":
		r.say("Starting database %s", r.id)
		call = func() error {
			_, err := r.client.StartDBInstance(ctx, &rds.StartDBInstanceInput{DBInstanceIdentifier: &r.id}, once)
			return err
		}
	case "reboot":
		r.say("Rebooting database %s", r.id)
		call = func() error {
			_, err := r.client.RebootDBInstance(ctx, &rds.RebootDBInstanceInput{DBInstanceIdentifier: &r.id}, once)
			return err
		}
	}
	if step == "reboot" {
		// Nothing of the database shows a second one, so it is written down first.
		r.m.Sent = true
		if err := r.keep(ctx); err != nil {
			return fmt.Errorf("rds: the mark could not be written, database %s is not rebooted: %w", r.id, err)
		}
	}
	what := fmt.Sprintf("rds: %s database %s", step, r.id)
	err := guarded(step, call)
	if strings.HasPrefix(awsx.Code(err), "Insufficient") {
		err = fmt.Errorf("%s: %w: %w", what, err, ops.ErrStalled)
	} else {
		err = awsx.Write(what, err)
	}
	var unknown *ops.UnknownOutcome
	switch lost := errors.As(err, &unknown); {
	case err == nil, lost && step == "reboot":
		w.told[step], w.seen = r.env.Clock(), map[string]bool{}
	case step == "reboot":
		r.m.Sent = false // refused
		if kept := r.keep(ctx); kept != nil {
			r.warn(ctx, "a refused reboot not recorded", kept) // it is then not tried again after a crash
		}
	}
	return err
}

// modification is what there is to set, at once.
func (r *run) modification(d database) *rds.ModifyDBInstanceInput {
	in := &rds.ModifyDBInstanceInput{DBInstanceIdentifier: &r.id, ApplyImmediately: aws.Bool(true)}
	for k, v := range r.to {
		switch k {
		case attributeClass:
			in.DBInstanceClass = aws.String(v)
		case attributeStorage:
			if n, err := strconv.ParseInt(v, 10, 32); err == nil && !d.has(k, v) {
				in.AllocatedStorage = aws.Int32(int32(n))
				if d.provisioned() {
					in.Iops = aws.Int32(d.IOPS)
				}
			}
		case attributeMultiAZ:
			in.MultiAZ = aws.Bool(v == "true")
		case attributeGroup:
			in.DBParameterGroupName = aws.String(v)
		}
	}
	return in
}

// baseline is what a small gp3 volume has without provisioning any.
const baseline = 3000

// provisioned reports storage whose growth must name its IOPS again.
func (d database) provisioned() bool {
	return d.StorageType == "io1" || d.StorageType == "io2" || d.StorageType == "gp3" && d.IOPS > baseline
}

// wrongState is how the service refuses what its status does not allow.
const wrongState = "InvalidDBInstanceState"

// final returns err if it is a refusal: what was lost, throttled or came at the
// wrong moment is found out by another look.
func final(err error) error {
	if err == nil || errors.Is(err, ops.ErrUnavailable) || errors.Is(err, ops.ErrThrottled) || awsx.Code(err) == wrongState {
		return nil
	}
	return err
}
