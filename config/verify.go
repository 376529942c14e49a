package config

import (
	"fmt"
	"net/netip"
	"path"
	"time"
)

// maxCheckTimeout leaves a look at all checks, which are asked at once, well
// inside the time of one attempt of a command.
const maxCheckTimeout = 30 * time.Second

func (v *validator) verification() {
	for i, m := range v.c.Verify.Metrics {
		where := at("verify.metrics", i)
		if _, err := path.Match(m.Name, ""); err != nil {
			v.add(where+".name", "%q is no pattern: %s", m.Name, err)
		}
		v.expression("verify.metrics.match", where+".match", m.Match, false)
	}
	v.names("verify.checks", "name", names(v.c.Verify.Checks, func(c VerifyCheck) string { return c.Name }))
	for i, c := range v.c.Verify.Checks {
		where := at("verify.checks", i)
		v.expression("verify.checks.match", where+".match", c.Match, false)
		v.expression("verify.checks.metric", where+".metric", c.Metric, false)
		if c.Times < 1 {
			v.add(where+".times", "must be 1 or more")
		}
		kinds := 0
		for _, there := range []bool{c.HTTP != nil, c.Metric != "", c.Alarm != nil} {
			if there {
				kinds++
			}
		}
		if kinds != 1 {
			v.add(where, "asks %d of http, metric and alarm; write exactly one", kinds)
		}
		if c.HTTP == nil {
			continue
		}
		if c.HTTP.Timeout.D <= 0 || c.HTTP.Timeout.D > maxCheckTimeout {
			v.add(where+".http.timeout", "%s is not from above 0s to %s", c.HTTP.Timeout, maxCheckTimeout)
		}
		for j, a := range c.HTTP.Allow {
			if _, err := netip.ParsePrefix(a); err != nil {
				v.add(fmt.Sprintf("%s.http.allow[%d]", where, j), "%q is no network; write for example 10.0.0.0/8", a)
			}
		}
	}
}
