package autoscaling

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fettleops/fettle/ops"
)

// wish is what a change asks for; what it leaves alone is nil or empty.
type wish struct {
	min, max, desired *int32
	kind              string // instance type
	version           int64  // of the launch template
}

// mostInstances bounds what can be asked for. It is above what any account may
// run in one group.
const mostInstances = 10_000

// read reads the pairs that follow the group in the arguments.
func (x *Executor) read(pairs []string) (wish, error) {
	var w wish
	seen := map[string]bool{}
	for _, p := range pairs {
		name, value, ok := strings.Cut(p, "=")
		if !ok || value == "" || seen[name] {
			return w, x.invalid("argument %q: write min=, max=, desired=, type= and version= once each, with a value", p)
		}
		seen[name] = true
		number, err := strconv.ParseInt(value, 10, 64)
		size := int32(min(max(number, 0), mostInstances))
		switch name {
		case "min", "max", "desired":
			if err != nil || int64(size) != number {
				return w, x.invalid("argument %q is not a number from 0 to %d", p, mostInstances)
			}
			*map[string]**int32{"min": &w.min, "max": &w.max, "desired": &w.desired}[name] = &size
		case "type":
			w.kind = value
		case "version":
			if err != nil || number < 1 {
				return w, x.invalid("argument %q: write the number of a version; one that moves by itself cannot be approved", p)
			}
			w.version = number
		default:
			return w, x.invalid("argument %q: there is no %q; write min=, max=, desired=, type= or version=", p, name)
		}
	}
	switch {
	case len(pairs) == 0:
		return w, x.invalid("%s needs what is to change: min=, max=, desired=, type= or version=", Update)
	case w.kind != "" && w.version != 0:
		return w, x.invalid("type= makes a version of its own and does not go with version=")
	}
	return w, nil
}

// sight is a group together with what is to become of it.
type sight struct {
	x        *Executor
	args     []string // action, group and pairs
	group    group
	wish     wish
	was      template // the zero template when instances stay as they are
	will     template // its version is 0 where one is made
	min, max int32    // wanted
}

// see looks at the group that the arguments name, and refuses what cannot be
// done with it. It changes nothing.
func (x *Executor) see(ctx context.Context, action string, args []string) (sight, error) {
	s := sight{x: x, args: append([]string{action}, args...)}
	var err error
	if err := x.mayTouch(args[0]); err != nil {
		return s, err
	}
	if action == Update {
		if s.wish, err = x.read(args[1:]); err != nil {
			return s, err
		}
	} else if len(args) > 1 {
		return s, x.invalid("%s takes a group and nothing else", Refresh)
	}
	if s.group, err = x.describe(ctx, args[0]); err != nil {
		return s, err
	}
	if err := x.ready(s.group); err != nil {
		return s, err
	}
	s.min, s.max = s.group.min, s.group.max
	if s.wish.min != nil {
		s.min = *s.wish.min
	}
	if s.wish.max != nil {
		s.max = *s.wish.max
	}
	if d := s.desired(); s.min > s.max || d < s.min || d > s.max {
		return s, x.invalid("group %s would have at least %d, at most %d and %d wanted instances, which do not fit together", s.group.name, s.min, s.max, d)
	}
	if err := s.look(ctx); err != nil {
		return s, err
	}
	if action == Update && !s.replaces() && s.min == s.group.min && s.max == s.group.max && s.desired() == s.group.desired {
		return s, x.invalid("group %s is so already", s.group.name)
	}
	return s, nil
}

// look reads the launch template where instances are to be replaced.
func (s *sight) look(ctx context.Context) (err error) {
	x := s.x
	if s.args[0] == Update && s.wish.kind == "" && s.wish.version == 0 {
		return nil
	}
	if s.args[0] == Update {
		if s.was, err = x.template(ctx, s.group); err != nil {
			return err
		}
		s.will = s.was
	}
	switch {
	case s.wish.version != 0 && s.wish.version != s.was.version:
		if s.will, err = x.versionOf(ctx, s.was.id, strconv.FormatInt(s.wish.version, 10)); err != nil {
			return err
		}
	case s.wish.kind != "" && s.was.kind == "":
		return x.invalid("version %d of launch template %s says no instance type but what one must have; make a version and name it by version=", s.was.version, s.was.id)
	case s.wish.kind != "" && s.wish.kind != s.was.kind:
		if err := x.fits(ctx, s.was.kind, s.wish.kind); err != nil {
			return err
		}
		s.will.kind, s.will.version = s.wish.kind, 0
	case s.args[0] == Update && len(s.group.behind(s.was, x.cfg)) == 0:
		s.was, s.will = template{}, template{}
		return nil
	}
	if err := x.replaceable(s.group); err != nil {
		return err
	}
	return x.idle(ctx, s.group.name)
}

// replaces reports whether instances are replaced.
func (s *sight) replaces() bool { return s.args[0] == Refresh || s.was.id != "" }

// desired is the capacity the group would want: the one that was asked for, or
// its own, which the service moves to the nearest that min and max allow.
func (s *sight) desired() int32 {
	if s.wish.desired != nil {
		return *s.wish.desired
	}
	return max(s.min, min(s.max, s.group.desired))
}

// undoes reports whether AWS undoes a refresh that fails. It cannot where the
// image is named by a parameter.
func (s *sight) undoes() bool {
	return *s.x.cfg.AutoRollback && s.was.id != "" && !strings.HasPrefix(s.was.image, "resolve:ssm:") && !strings.HasPrefix(s.will.image, "resolve:ssm:")
}

// aNewOne stands in a plan for the number of a version that is not made yet.
const aNewOne = "new"

// attributes are what the plan shows of before and after. The capacity that is
// wanted moves by itself: unless it is asked for, only what will be done about
// it is shown.
func (s *sight) attributes() (before, after map[string]string) {
	before, after = map[string]string{}, map[string]string{}
	set := func(name, was, will string) {
		if was != will {
			before[name], after[name] = was, will
		}
	}
	number := func(n int32) string { return strconv.Itoa(int(n)) }
	set("min", number(s.group.min), number(s.min))
	set("max", number(s.group.max), number(s.max))
	switch d := s.desired(); {
	case s.wish.desired != nil:
		set("desired", number(s.group.desired), number(d))
	case d < s.group.desired:
		set("desired", "more than "+number(d), number(d))
	case d > s.group.desired:
		set("desired", "less than "+number(d), number(d))
	}
	if s.was.id == "" {
		return before, after
	}
	version := s.will.number()
	if s.will.version == 0 {
		version = aNewOne
	}
	before["template"], after["template"] = s.was.id, s.will.id
	before["version"], after["version"] = cmp.Or(s.was.follows, s.was.number()), version
	set("type", s.was.kind, s.will.kind)
	set("image", s.was.image, s.will.image)
	before["number"] = s.was.number()
	return before, after
}

// resizing is how long setting the capacity of a group takes.
const resizing = 5 * time.Minute

func (s *sight) plan() ops.Plan {
	x := s.x
	before, after := s.attributes()
	verb := "update"
	if s.args[0] == Refresh {
		verb, after["instances"] = "replace", "replaced"
	}
	takes := resizing
	if s.replaces() {
		takes = max(takes, x.cfg.Estimate)
	}
	p := ops.Plan{
		Tool: "autoscaling", Target: "group:" + s.group.name, Config: x.cfg.digest(), ApplySecs: int(takes / time.Second),
		Actions: []ops.PlanAction{{Resource: s.group.name, Verb: verb, Before: before, After: after, Args: s.args}},
		Text:    s.text(before, after),
	}
	if s.args[0] == Update {
		back := map[string]string{}
		maps.Copy(back, before)
		if back["number"] != "" {
			back["version"] = back["number"]
		}
		delete(back, "number")
		p.Rollback = []ops.PlanAction{{Resource: s.group.name, Verb: verb, Before: after, After: back, Args: s.args[:2]}}
		p.RollbackSecs = p.ApplySecs
	}
	return p
}

func (s *sight) text(before, after map[string]string) string {
	var b strings.Builder
	if s.args[0] == Refresh {
		fmt.Fprintf(&b, "~ replace the instances of group %s\n", s.group.name)
	} else {
		fmt.Fprintf(&b, "~ update group %s\n", s.group.name)
		for _, k := range slices.Sorted(maps.Keys(after)) {
			if before[k] != after[k] {
				fmt.Fprintf(&b, "-   %s: %s\n+   %s: %s\n", k, before[k], k, after[k])
			}
		}
	}
	if s.was.id != "" && s.will.version == 0 {
		fmt.Fprintf(&b, "+ create a version of launch template %s (%s), which is version %d with the instance type %s\n", s.was.id, s.was.name, s.was.version, s.will.kind)
	}
	if s.was.follows != "" {
		fmt.Fprintf(&b, "! the group follows %s and is set to version %d first: else what is new would reach it before it is replaced, and AWS could not undo; it stays with numbers\n", s.was.follows, s.was.version)
	}
	if s.wish.desired == nil && s.desired() < s.group.desired {
		fmt.Fprintf(&b, "! instances above %d are terminated\n", s.max)
	}
	cfg := s.x.cfg
	if !s.replaces() {
		return b.String()
	}
	fmt.Fprintf(&b, "  instances are replaced while at least %d%% are in service", *cfg.MinHealthy)
	if cfg.MaxHealthy != nil {
		fmt.Fprintf(&b, ", at most %d%%", *cfg.MaxHealthy)
	}
	b.WriteString("\n")
	if len(cfg.Checkpoints) > 0 {
		fmt.Fprintf(&b, "  with a pause of %s at %v%%\n", cfg.CheckpointDelay, cfg.Checkpoints)
	}
	if cfg.Bake > 0 {
		fmt.Fprintf(&b, "  and watched for %s after that\n", cfg.Bake)
	}
	if len(cfg.Alarms) > 0 {
		fmt.Fprintf(&b, "  stopped by the alarms %s\n", strings.Join(cfg.Alarms, ", "))
	}
	for _, l := range []struct{ what, do string }{{"protected from scale in", cfg.Protected}, {"in standby", cfg.Standby}} {
		if l.do != refuse {
			fmt.Fprintf(&b, "  instances %s: %s\n", l.what, l.do)
		}
	}
	switch {
	case s.args[0] == Refresh:
		b.WriteString("! cannot be undone\n")
	case s.undoes():
		b.WriteString("  undone by AWS when it fails\n")
	default:
		b.WriteString("! not undone by AWS when it fails; a rollback replaces the instances once more\n")
	}
	fmt.Fprintf(&b, "  cancelled after %s\n", cfg.Timeout)
	return b.String()
}
