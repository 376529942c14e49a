package demo

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// zone is where the demo's window lies; any other than UTC shows that zones count.
const zone = "Europe/Berlin"

// secretFile keeps the password of the simulated ServiceNow.
const secretFile = "snow.password"

// config writes the demo's configuration, which is an ordinary one with
// durations of seconds.
func (d *demo) config() (string, error) {
	if err := os.WriteFile(filepath.Join(d.DataDir, secretFile), []byte("fettle\n"), 0o600); err != nil {
		return "", err
	}
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return "", err
	}
	opens := time.Now().Add(7 * time.Second)
	if d.Break == "window" {
		opens = opens.Add(24 * time.Hour)
	}
	scale := strings.Join(d.Scale, " ")
	file := d.effect
	if d.Break == "execute" {
		file = filepath.Join(d.DataDir, "no", "such", "directory")
	}
	type m = map[string]any
	out, err := yaml.Marshal(m{
		"detect": m{
			"host":  m{"enabled": false},
			"rules": []m{{"name": "high-cpu", "title": "High CPU utilization", "when": "cpu_utilization > 0.80", "clear": "cpu_utilization < 0.70", "for": "1s", "severity": "high"}},
		},
		"people":    []m{{"name": "ann", "roles": []string{"approver"}, "platforms": m{"snow": "beth.anglin"}}},
		"teams":     []m{{"name": "Cloud operations", "time_zone": zone, "backlog_snapshot": "19:00"}},
		"correlate": m{"within": "1m", "reopen_within": "10m"},
		"platforms": []m{{
			"name": "snow", "connector": "servicenow", "url": d.snow, "sync": m{"every": "1s"},
			"auth": m{"basic": m{"username": "fettle", "password": "file:" + filepath.Join(d.DataDir, secretFile)}},
		}},
		"routes": []m{
			{"match": "true", "platform": "snow", "team": "Cloud operations"},
			{"match": "true", "platform": "desk", "team": "Cloud operations"},
		},
		"windows":  []m{{"name": "demo-window", "schedule": fmt.Sprintf("at(%s)", opens.In(loc).Format("2006-01-02T15:04:05")), "duration": "5m", "time_zone": zone}},
		"policies": m{"approval": []m{{"match": "true", "approvers": m{"role": "approver", "count": 1}, "expires": "1h"}}},
		"executors": []m{{"name": "web-1", "tool": "command", "allow": []m{{
			"name": "scale_up", "command": scale + ` {size:m5\.[0-9a-z]+} {file:.+}`, "rollback": scale + " " + smallSize + " {file}",
			"estimate": "1s", "rollback_estimate": "1s",
		}}}},
		"runbooks": []m{{
			"name": "high-cpu", "trigger": `alert.rule == "high-cpu"`, "window": "demo-window", "risk": 0.3, "verify": m{"within": "8s"},
			"steps": []m{{"when": "value > 0.90", "executor": "web-1", "action": "scale_up", "args": []string{largeSize, file}}},
		}},
	})
	return string(out), err
}
