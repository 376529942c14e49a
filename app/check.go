package app

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fettleops/fettle/change"
	"github.com/fettleops/fettle/change/recommend"
	"github.com/fettleops/fettle/change/window"
	"github.com/fettleops/fettle/config"
	"github.com/fettleops/fettle/execute"
	executors "github.com/fettleops/fettle/execute/all"
	"github.com/fettleops/fettle/execute/parameter"
	"github.com/fettleops/fettle/intake"
	sources "github.com/fettleops/fettle/intake/all"
	"github.com/fettleops/fettle/intake/otlp"
	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/policy"
)

// words says what each expression of the configuration is about.
var words = map[string]policy.Word{
	"routes.match": policy.Incident, "routes.change.match": policy.Change, "windows.applies": policy.Change, "freezes.applies": policy.Change, "policies.approval.match": policy.Change,
	"runbooks.trigger": policy.Alert, "runbooks.steps.when": policy.Step,
	"verify.metrics.match": policy.Effect, "verify.checks.match": policy.Change,
	"recommendations.rules.match": policy.Recommendation, "notify.when": policy.Notice,
}

// CheckConfig finds what the configuration package cannot: expressions that do
// not compile, schedules that never come, drivers that do not exist and what
// their own parts of the file get wrong. It does no I/O.
func CheckConfig(c *config.Config) error {
	var faults []string
	note := func(err error) {
		if err != nil {
			faults = append(faults, strings.TrimSuffix(err.Error(), ": "+ops.ErrInvalid.Error())) // said once, at the end
		}
	}
	note(c.Validate(config.Checks{
		Schedule: func(schedule string) error {
			_, err := window.Compile(ops.Window{Name: "check", Schedule: schedule, Duration: 1, TimeZone: "UTC"})
			return err
		},
		Expression: func(where, text string) error {
			if strings.HasPrefix(where, "detect.") || where == "verify.checks.metric" {
				_, err := policy.CompileCondition(text)
				return err
			}
			word, ok := words[where]
			if !ok {
				return fmt.Errorf("nobody reads expressions at %s: %w", where, ops.ErrInternal)
			}
			_, err := policy.Compile(word, text)
			return err
		},
		Group:   checkGroup,
		Fetches: fetches,
	}))
	for _, p := range c.Platforms {
		d, err := connectorDriver(p.Connector)
		if err == nil {
			err = d.Validate(settings(p))
		}
		if err != nil {
			note(fmt.Errorf("platform %s: %w", p.Name, err))
		}
	}
	for _, e := range c.Executors {
		d, err := execute.Find(executors.Drivers(), e.Tool)
		if err == nil {
			err = d.Check(e.Options.Decode)
		}
		if err != nil {
			note(fmt.Errorf("executor %s: %w", e.Name, err))
		}
	}
	known, used := map[string]intake.Driver{}, map[string]bool{}
	var names []string
	for _, d := range sources.Drivers() {
		known[d.Name] = d
		names = append(names, d.Name)
	}
	for _, i := range c.Integrations {
		used[i.Source] = true
		d, ok := known[i.Source]
		if !ok {
			note(fmt.Errorf("integration %s: source %q is none of %s", i.Name, i.Source, strings.Join(names, ", ")))
		} else if err := intake.Check(d, integration(i)); err != nil {
			note(fmt.Errorf("integration %s: %w", i.Name, placed(err, i.Options)))
		}
	}
	if c.Server.ListenGRPC != "" && !used[otlp.Driver.Name] {
		note(fmt.Errorf("server.listen_grpc: no integration has the source %s, so nobody could send there; add one, or remove listen_grpc", otlp.Driver.Name))
	}
	if _, err := parameter.NewDirectory(parameterAccounts(c), awsx.Env{}, nil); err != nil {
		note(fmt.Errorf("parameters: %w", err))
	}
	if len(faults) == 0 { // both repeat what was said above
		note(checkVerification(c))
		_, err := notifyRoutes(c)
		note(err)
		gate, err := gateConfig(c, Tune{})
		note(err)
		if err == nil {
			_, err = change.NewGate(gate)
			note(err)
		}
	}
	if len(faults) == 0 { // and so do these rules
		_, err := recommend.Compile(recommendConfig(c))
		note(err)
	}
	if len(faults) > 0 {
		return fmt.Errorf("%s: %w", strings.Join(faults, "\n"), ops.ErrInvalid)
	}
	return nil
}

// placed adds where an option stands that a source refuses by itself.
func placed(err error, options config.Raw) error {
	var f *intake.Fault
	if options.IsZero() || !errors.As(err, &f) {
		return err
	}
	return fmt.Errorf("%s: %w", options.Fault(strings.TrimPrefix(f.Field, "options."), "").At, err)
}

// fetches reports whether a source fetches and has no senders.
func fetches(source string) bool {
	return slices.ContainsFunc(sources.Drivers(), func(d intake.Driver) bool { return d.Name == source && d.Pull != nil })
}
