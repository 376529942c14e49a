package config

import (
	"slices"
	"strings"

	"github.com/fettleops/fettle/internal/strictyaml"
)

// Load reads the file's content over the defaults and validates it without Checks.
// path is only used to name places. The error is a Faults with everything that is
// wrong; then the Config is nil.
func Load(path string, data []byte) (*Config, error) {
	c := Default()
	c.file = path
	raw, faults := strictyaml.Parse(path, data)
	var decode Faults
	c.places, decode = strictyaml.Decode(raw, c)
	faults = append(faults, decode...)
	if !slices.ContainsFunc(c.Platforms, func(p Platform) bool { return p.Name == DeskPlatform }) {
		c.Platforms = append(c.Platforms, desk())
	}
	for _, f := range c.check(Checks{}) {
		if !explained(f, faults) {
			faults = append(faults, f)
		}
	}
	if err := faults.Err(); err != nil {
		return nil, err
	}
	return c, nil
}

// explained reports whether f only repeats an earlier fault: what could not be read
// is empty, and that it, or what holds it, is incomplete needs no second line.
func explained(f *Fault, earlier Faults) bool {
	return slices.ContainsFunc(earlier, func(e *Fault) bool {
		return e.Path == "" || f.Path == e.Path || strings.HasPrefix(f.Path, e.Path+".") || strings.HasPrefix(f.Path, e.Path+"[") ||
			strings.HasPrefix(e.Path, f.Path+".")
	})
}

// Platform returns the platform called name.
func (c *Config) Platform(name string) (Platform, bool) {
	return find(c.Platforms, name, func(p Platform) string { return p.Name })
}

// Executor returns the executor called name.
func (c *Config) Executor(name string) (Executor, bool) {
	return find(c.Executors, name, func(e Executor) string { return e.Name })
}

// Team returns the team called name.
func (c *Config) Team(name string) (Team, bool) {
	return find(c.Teams, name, func(t Team) string { return t.Name })
}

func find[T any](list []T, name string, of func(T) string) (T, bool) {
	i := slices.IndexFunc(list, func(x T) bool { return of(x) == name })
	if i < 0 {
		var zero T
		return zero, false
	}
	return list[i], true
}
