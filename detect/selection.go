package detect

import (
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/detect/kernel/detector"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/series"
)

// Selection says which series are watched and what their samples become. It is
// safe for concurrent use and does not change while a pipeline uses it.
type Selection interface {
	// Groups returns the groups; a Binding names one by its place.
	Groups() []Group
	// Bind says what a series is good for; equal descriptors have equal
	// bindings. None is the answer for a series nobody selects. Bindings that
	// come with an error stand.
	Bind(d *series.Descriptor) ([]Binding, error)
}

// Binding makes a series an input of an entity of a group.
type Binding struct {
	Group  int    // place in Groups
	Entity string // for example web1:9100
	Input  Input  // which input of the entity; what Entity.Add takes
}

// Input is what a series feeds of an entity, in the words of the selection. It
// is handed back to Entity.Add and to nobody else.
type Input any

// Feature is a value of a group's points.
type Feature struct {
	Name string
	Unit string
}

// Group is a set of features that is watched as one, in each of many entities.
type Group struct {
	Name     string
	Severity ops.Severity // of its alerts; defaults to medium
	Features []Feature    // in the order of a point's values
	// Detector is the name of the detector, and Settings what its models are
	// made of; the seed of each is derived from Settings.Seed and the entity. The
	// tier Auto is Full for the first 100 entities and Small for those after.
	Detector string
	Settings detector.Settings
	// MaxEntities bounds the entities with a model. Defaults to 10,000.
	MaxEntities int
	// Digest changes when a saved entity of the group can no longer be read, as
	// when its features change.
	Digest string
	// New returns the state that turns the samples of an entity into points.
	New func(entity string) Entity
	// Load reads it back.
	Load func(entity string, state []byte) (Entity, error)
	// Metrics are the names of the metrics its features read, sorted. Unnamed
	// says that some feature reads metrics of any name.
	Metrics []string
	Unnamed bool
	// Late returns how many samples came after their step had closed, since the
	// process began. Nil: none.
	Late func() uint64
}

// Entity turns the samples of one entity into points, one for each step that
// is over. It is a function of the samples alone, not of how they were split.
// It is not safe for concurrent use.
type Entity interface {
	// Add takes the samples of an input in the order they were sent and calls
	// closed for each step that ends thereby, in order. The point and its values
	// are valid until closed returns.
	Add(input Input, samples []series.RawPoint, closed func(detector.Point))
	// AppendState appends the state to dst.
	AppendState(dst []byte) ([]byte, error)
}

// Detectors makes and loads the detectors of models.
type Detectors struct {
	New  func(name string, s detector.Settings) (detector.Detector, error)
	Load func(name string, s detector.Settings, state []byte) (detector.Detector, error)
}

// Finds reports whether a text, in any case, is part of what an entity of the
// group is found by: the names of the group and the entity, of the features and
// of the metrics they read. A label as its alerts carry it, such as
// instance=web1:9100, finds it too. The empty text finds everything.
func (g *Group) Finds(entity, text string) bool {
	text = strings.ToLower(text)
	if in(g.Name+" "+entity, text) || slices.ContainsFunc(g.Metrics, func(m string) bool { return in(m, text) }) ||
		slices.ContainsFunc(g.Features, func(f Feature) bool { return in(f.Name, text) }) {
		return true
	}
	label, value, ok := strings.Cut(text, "=")
	if !ok {
		return false
	}
	is, known := labelsOf(g.Name, entity)[label]
	return known && in(is, strings.Trim(value, `"`))
}

// in reports whether a text in lower case is part of another.
func in(whole, text string) bool { return strings.Contains(strings.ToLower(whole), text) }

func (g *Group) step() time.Duration {
	if g.Settings.Step > 0 {
		return g.Settings.Step
	}
	return time.Minute
}

// Auto is the tier of a group whose models are full while there are few.
const Auto detector.Tier = "auto"

// autoFull is how many full models a group has of the tier Auto. With four
// features a full one takes 7.5 MB of memory and a small one 0.3 MB.
const autoFull = 100

// tier is the tier of one entity more.
func (g *Group) tier(entities int) detector.Tier {
	switch t := g.Settings.Tier; {
	case t != Auto && t != "":
		return t
	case entities < autoFull:
		return detector.Full
	}
	return detector.Small
}

func (g *Group) severity() ops.Severity {
	if g.Severity == "" {
		return ops.Medium
	}
	return g.Severity
}

func (g *Group) maxEntities() int {
	if g.MaxEntities > 0 {
		return g.MaxEntities
	}
	return 10_000
}
