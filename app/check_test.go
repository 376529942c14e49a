package app

import (
	"strings"
	"testing"

	"github.com/fettleops/fettle/config"
	executors "github.com/fettleops/fettle/execute/all"
	sources "github.com/fettleops/fettle/intake/all"
)

// What a driver alone understands is read by the driver when the configuration
// is checked: each fault with its line, and an unknown key with the nearest.
func TestCheckReadsWhatDriversUnderstand(t *testing.T) {
	f := func(text string, want ...string) {
		t.Helper()
		c, err := config.Load("fettle.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		err = CheckConfig(c)
		if len(want) == 0 {
			if err != nil {
				t.Error(err)
			}
			return
		}
		for _, w := range want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%v\nwant %s", err, w)
			}
		}
	}
	f("executors: [{name: host, tool: dryrun, takes: 2s}]")
	f("executors:\n  - {name: host, tool: dryrun, take: 2s}", `executor host: fettle.yaml:2:32: executors[0].take: unknown key "take"; did you mean "takes"?`)
	f("executors:\n  - {name: host, tool: dryrun, takes: long}", "fettle.yaml:2:39: executors[0].takes: \"long\" is no duration")
	f("executors:\n  - {name: one, tool: dryrun, x: 1}\n  - {name: two, tool: terraform, y: 1}", "fettle.yaml:2:31: executors[0].x:", "fettle.yaml:3:34: executors[1].y:")
	f("executors:\n  - {name: host, tool: command, allow: [/bin/true, {name: sync, command: /bin/sync}]}")
	f("executors:\n  - {name: host, tool: command, allow: [[/bin/true]]}", "fettle.yaml:2:41: executors[0].allow[0]: wants a mapping")
	f("executors:\n  - {name: web, tool: terraform, dir: /srv, allow: [apply]}")
	const prom = "integrations:\n  - {name: prom, source: alertmanager, auth: {bearer: env:X}"
	f(prom + "}")
	f(prom+", options: {severity_lable: level}}", `integration prom: options: fettle.yaml:2:73: integrations[0].options.severity_lable: unknown key "severity_lable"; did you mean "severity_label"?`)
	f(prom+", options: {default_severity: awful}}", "fettle.yaml:2:73: options: default_severity: write critical")
	f(prom+", redact: [name]}", "redact")
	f("integrations:\n  - {name: prom, source: alertmanager, auth: {barer: env:X}}", `auth: fettle.yaml:2:47: integrations[0].auth.barer: unknown key "barer"; did you mean "bearer"?`)
	f("integrations:\n  - {name: stream, source: kinesis, options: {straem: x}}", `integrations[0].options.straem: unknown key "straem"; did you mean "stream"?`)
}

// Every driver refuses a key it does not know, without opening anything.
func TestEveryDriverRefusesWhatItDoesNotKnow(t *testing.T) {
	refused := func(section, name string) {
		t.Helper()
		c, err := config.Load("fettle.yaml", []byte(section))
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckConfig(c); err == nil || !strings.Contains(err.Error(), `unknown key "nobody_knows_this"`) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, d := range executors.Drivers() {
		refused("executors: [{name: x, tool: "+d.Tool+", nobody_knows_this: 1}]", d.Tool)
	}
	for _, d := range sources.Drivers() {
		refused("integrations: [{name: x, source: "+d.Name+", options: {nobody_knows_this: 1}}]", d.Name)
	}
}
