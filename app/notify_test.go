package app

import (
	"errors"
	"strings"
	"testing"

	"github.com/fettleops/fettle/config"
	"github.com/fettleops/fettle/ops"
)

func TestChannelsAreChecked(t *testing.T) {
	f := func(entry, want string) {
		t.Helper()
		c, err := config.Load("fettle.yaml", []byte("notify: [{name: chat, "+entry+"}]\n"))
		if err == nil {
			err = CheckConfig(c)
		}
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", entry, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", entry, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "T0SECRET") {
			t.Errorf("%s: the error tells the secret: %v", entry, err)
		}
	}
	f("slack: env:S", "")
	f("teams: 'file:/etc/fettle/teams'", "")
	f("cloudevents: {url: env:U, mode: binary}", "")
	f("slack: 'https://hooks.slack.com/services/T0SECRET'", "plain secret")
	f("slack: {webhook: 'https://hooks.slack.com/services/T0SECRET'}", "plain secret")
	f("webhook: env:U", "wants a mapping")
	f("pigeon: env:P", `channel "pigeon" is none of`)
	f("sns: {topic: ops}", "ARN")
	f("slack: env:S, when: 'incident.severty == \"high\"'", `did you mean "severity"`)
	f("slack: env:S, on: [RunHeld]", "nobody is told of")
	c, err := config.Load("fettle.yaml", []byte("notify: [{name: a, slack: env:S}, {name: b, slack: env:S, per_hour: 0}, {name: c, eventbridge: {bus: x}}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	routes, err := notifyRoutes(c)
	if err != nil || len(routes) != 3 || routes[0].Traits.PerHour != 20 || routes[1].Traits.PerHour != 0 || routes[2].Traits.PerHour != 0 {
		t.Errorf("limits: %+v, %v", routes, err)
	}
	if _, err := notifyRoutes(&config.Config{Notify: []config.NotifyChannel{{Name: "x"}}}); !errors.Is(err, ops.ErrInvalid) {
		t.Errorf("no kind: %v", err)
	}
}
