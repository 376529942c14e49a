package archtest

// Module is the path of the product's module; every rule speaks about
// packages below it by their folder, for example "connector/rt".
const Module = "github.com/fettleops/fettle"

// Room is one row of the floor plan. A package belongs to the row with the
// most specific pattern that matches its folder.
type Room struct {
	// Path is the pattern of folders in the row: "*" stands for one folder,
	// a final "..." for the folder before it and all below.
	Path string
	// Purpose is the row's one line in docs/floorplan.md.
	Purpose string
	// May lists the patterns of our packages that the row may import besides
	// packages of the same row. "..." alone means every package.
	May []string
	// Tests lists what the row's tests may import beyond what all tests may.
	Tests []string
	// Leaf says that the row's tests get no rooms either: no store, no desk.
	Leaf bool
	// StdlibOnly refuses third-party imports outside tests.
	StdlibOnly bool
	// Deny lists foreign import paths, with all below them, that are refused
	// outside tests.
	Deny []string
	// Bench says that the row holds test or benchmark programs, which may
	// link test kits and simulators outside _test.go files.
	Bench bool
	// Why is printed with each violation of the row's imports.
	Why string
}

// floor names what every room stands on.
var (
	floor = []string{"ops/...", "internal/..."}
	shown = with(floor, "job/...", "policy/...", "series/...", "intake", "detect/...", "correlate/...",
		"ticket/...", "connector", "change/...", "execute", "execute/parameter/...", "verify/...",
		"reconcile/...", "notify", "analytics/...")
)

func with(base []string, more ...string) []string {
	return append(append([]string(nil), base...), more...)
}

const (
	whyRoom   = "rooms meet by facts and commands in the store, never by imports: a room that imports another closes the loop in code"
	whyDriver = "a driver is one folder that can be deleted: it knows the contract it implements, no room and no other driver"
	whyAll    = "the list of drivers is generated and links drivers, nothing else"
	whyShow   = "what is shown is read through the rooms; writing around them by way of the store would open a side door"
)

// Rooms returns the floor plan, in the order in which docs/floorplan.md
// prints it. A new top-level folder needs a row here.
func Rooms() []Room {
	return []Room{
		{
			Path: "ops/...", Leaf: true, StdlibOnly: true,
			Purpose: "the vocabulary: words, state tables, facts, commands, error classes and the resource graph",
			Why:     "everything speaks the words of ops, so ops may depend on nothing that could change under them",
		},
		{
			Path: "internal/db/...", May: floor, Leaf: true,
			Purpose: "opens SQLite (one group-committing writer, a read pool) or PostgreSQL and owns the transaction",
			Why:     "the transaction stands below every room and must not know one",
		},
		{
			Path: "internal/awsx/...", May: floor, Leaf: true,
			Purpose: "opens AWS for drivers, and turns its answers into the error classes of ops",
			Why:     "drivers may not share a room of their own, and six copies of one error table would drift apart",
		},
		{
			Path: "internal/...", Leaf: true,
			Purpose: "plumbing with no domain word: clock, HTTP, redaction, limits, failpoints, floor plan, test peers",
			Why:     "plumbing that knows a word of the trade is a room in the wrong place",
		},
		{Path: "policy/...", May: floor, Purpose: "CEL over the words of ops, with a cost limit", Why: whyRoom},
		{Path: "series/...", May: floor, Purpose: "append-only sample log and compressed history", Why: whyRoom},
		{Path: "job/...", May: floor, Purpose: "durable queue and workers; hides River", Why: whyRoom},
		{
			Path: "store/...", May: floor,
			Purpose: "SQL and migrations, one file per noun; encrypted artefacts",
			Why:     "the store satisfies the rooms' interfaces by shape: importing one would turn the arrow around",
		},
		{
			Path: "intake", May: with(floor, "job/...", "series/..."),
			Purpose: "front door: authenticate, bound the size, decode, dedupe, emit signals", Why: whyRoom,
		},
		{Path: "intake/all", May: []string{"intake", "intake/*/..."}, Purpose: "generated list of the sources", Why: whyAll},
		{
			Path: "intake/metricstream", May: []string{"intake", "series"},
			Purpose: "reads the records of CloudWatch metric streams, which two sources carry",
			Why:     "it turns bytes into samples and knows neither of the ways they come by",
		},
		{
			Path: "intake/*/...", May: with(floor, "intake", "intake/metricstream", "job/...", "series/..."),
			Purpose: "one source of signals", Why: whyDriver,
		},
		{
			Path: "detect/kernel/...", Leaf: true, Deny: []string{"context", "log", "net", "sync"},
			Purpose: "detection arithmetic, importable by anyone",
			Why: "kernels promise a Go API to strangers: arithmetic only, no context, no logger, no network, nothing of ours; " +
				"nothing to lock either, so make check-race leaves them out",
		},
		{
			Path: "detect/...", May: with(floor, "detect/kernel/...", "job/...", "policy/...", "series/..."),
			Purpose: "per-series models; turns samples into anomalies", Why: whyRoom,
		},
		{
			Path: "correlate/...", May: with(floor, "job/...", "policy/..."),
			Purpose: "dedupes, groups, mutes and escalates alerts and anomalies into incidents", Why: whyRoom,
		},
		{
			// Its story of a change is told on a simulated and on a real platform too.
			Path: "ticket/...", May: with(floor, "connector", "job/...", "policy/..."), Tests: []string{"connector/opscenter/...", "connector/rt/...", "connector/servicenow/..."},
			Purpose: "keeps incidents and platform tickets equal both ways", Why: whyRoom,
		},
		{Path: "connector", May: floor, Purpose: "wall socket for ITSM platforms", Why: whyRoom},
		{
			Path: "connector/all", May: []string{"connector", "connector/*/..."},
			Purpose: "generated list of the platforms", Why: whyAll,
		},
		{
			Path: "connector/*/simulator/...", May: floor,
			Purpose: "a platform played from its documentation",
			Why:     "a simulator that shares code with the driver it judges agrees with the driver's mistakes",
		},
		{Path: "connector/*/...", May: with(floor, "connector"), Purpose: "one ITSM platform", Why: whyDriver},
		{
			Path: "change/window/...", May: []string{"ops/...", "policy/..."}, Deny: []string{"context", "log", "net", "sync"},
			Purpose: "maintenance windows and freezes: when they open, by the local clock",
			Why:     "schedules are arithmetic on time; nothing to wait for and nothing to lock, so make check-race leaves them out",
		},
		{
			Path: "change/...", May: with(floor, "change/window/...", "job/...", "policy/..."),
			Purpose: "the change state machine: approvals, windows, recommendations, runbooks", Why: whyRoom,
		},
		{
			Path: "execute", May: with(floor, "execute/parameter/...", "job/..."),
			Purpose: "plans and runs one approved step through a tool", Why: whyRoom,
		},
		{
			Path: "execute/all", May: []string{"execute", "execute/*/..."},
			Purpose: "generated list of the executors", Why: whyAll,
		},
		{
			Path: "execute/parameter/...", May: with(floor, "job/..."),
			Purpose: "the parameter repository", Why: whyRoom,
		},
		{Path: "execute/*/...", May: with(floor, "execute", "execute/parameter", "job/..."), Purpose: "one execution tool", Why: whyDriver},
		{
			Path: "verify/...", May: with(floor, "detect/kernel/...", "job/...", "policy/..."),
			Purpose: "compares health before and after, gives a verdict, asks for rollback", Why: whyRoom,
		},
		{
			Path: "reconcile/...", May: with(floor, "connector", "job/..."),
			Purpose: "level-based loops, wanted against seen; repairs through the gate", Why: whyRoom,
		},
		{
			Path: "notify", May: with(floor, "job/...", "policy/..."),
			Purpose: "tells people, limited per hour, then a digest", Why: whyRoom,
		},
		{
			Path: "notify/all", May: []string{"notify", "notify/*/..."},
			Purpose: "generated list of the channels", Why: whyAll,
		},
		{
			Path: "notify/*/...", May: with(floor, "notify", "job/...", "policy/..."),
			Purpose: "one channel", Why: whyDriver,
		},
		{
			Path: "analytics/...", May: with(floor, "series/..."),
			Purpose: "read-only answers: backlog, MTTR, change success, links, risk", Why: whyRoom,
		},
		{
			Path: "api/client/...", May: with(floor, "api"),
			Purpose: "typed client of the JSON API",
			Why:     "the client must see no more than a stranger on the network sees",
		},
		{Path: "api/...", May: shown, Purpose: "JSON API under /api/v1, OpenAPI kept equal by test", Why: whyShow},
		{
			Path: "web/page/*/...", May: with(shown, "web", "web/*"),
			Purpose: "one page: handler, template, style, test",
			Why:     "a page is deleted as easily as it is added, so no page leans on another, and none on the store",
		},
		{
			Path: "web/...", May: with(shown, "web/page/*/..."),
			Purpose: "server-rendered user interface", Why: whyShow,
		},
		{
			Path: "config/...", May: floor,
			Purpose: "one strict YAML file; each driver's subtree stays raw and is decoded by that driver",
			Why:     "a central configuration that knows its drivers makes every new driver an edit in ten files",
		},
		{
			Path: "app/...", May: []string{"..."},
			Purpose: "builds the house: configuration, database, rooms, servers; New, Run, Stop",
			Why:     "the roof may see every room, but links no test kit",
		},
		{
			Path: "cli/...", May: []string{
				"ops/...", "app/...", "api/client/...", "config/...", "detect/...", "internal/...", "connector/servicenow/simulator/...",
			},
			Purpose: "command line",
			Why:     "a command works through the application or its API; reaching into a room would be a second way in",
		},
		{
			Path: "cmd/...", May: []string{"cli/..."}, Purpose: "main only",
			Why: "main hands over to cli, so that tests can run every command in process",
		},
		{Path: "test/...", May: []string{"..."}, Bench: true, Purpose: "timeline acceptance tests"},
		{Path: "bench/...", May: []string{"..."}, Bench: true, Purpose: "benchmark programs"},
		{Path: "docs/...", Purpose: "generated floor plan, decisions, user guide", Why: "documents hold no code"},
		{Path: "changelog/...", Purpose: "one fragment per user-visible change", Why: "documents hold no code"},
		{Path: "tools/...", Purpose: "pinned tools in a module of their own", Why: "tools hold no code of the product"},
	}
}

// kits are the test kits that do not follow the name rule `<room>test`.
var kits = []string{"internal/peer/...", "internal/archtest/..."}

// testMay is what tests of every room may import besides what the room may:
// the contracts, the two drivers that are the fakes of every test, and the
// store they live on. Test kits are allowed to all tests.
var testMay = with(floor, "store/...", "connector", "connector/desk/...", "execute", "execute/dryrun/...")

// reserved names foreign modules that exactly one of our packages may know.
var reserved = []struct{ prefix, home, why string }{
	{"github.com/riverqueue/river", "job/...", "job hides River, so that its queue can be replaced by our own without touching a room"},
	{"cel.dev/cel-go", "policy/...", "policy holds one CEL environment per word and the cost limit; a second environment would escape both"},
}

// anonymous are the packages that may not name a driver, not even in a
// string: the drivers are found in the generated lists.
var anonymous = []string{"config/...", "store/..."}
