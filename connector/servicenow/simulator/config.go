package simulator

import (
	"fmt"
	"maps"
	"time"
)

// Record is one row as the database holds it: every value a string, references
// as sys_ids, times in UTC as "2006-01-02 15:04:05", journals empty.
type Record map[string]string

// Config says what the instance is made of. Only Clock is required.
type Config struct {
	// Clock tells the time of the instance; the simulator uses whole seconds of it.
	Clock func() time.Time
	// Seed makes the generated sys_ids and tokens; the same seed and the same
	// requests give the same ones. Defaults to "fettle".
	Seed string
	// BaseURL is the start of links and Location. Defaults to the Host of the request.
	BaseURL string

	// Users maps names to passwords for Basic and the password grant. Defaults
	// to fettle, beth.anglin, abel.tuter and admin, each with its name as password.
	Users map[string]string
	// Profiles say more about users; a user without one has the role itil.
	// Built-in: admin (admin), abel.tuter (no role, an ordinary caller).
	Profiles map[string]Profile
	// APIKeys maps values of the x-sn-apikey header to user names. Defaults to none.
	APIKeys map[string]string

	// OAuth lists the clients that may ask for tokens. Defaults to none.
	OAuth []OAuthClient
	// ClientCredentials is glide.oauth.inbound.client.credential.grant_type.enabled. Defaults to false.
	ClientCredentials bool
	// NoPasswordGrant hardens the password grant off. Defaults to false.
	NoPasswordGrant bool
	// AccessTokenLife defaults to 30 minutes.
	AccessTokenLife time.Duration
	// RefreshTokenLife defaults to 100 days.
	RefreshTokenLife time.Duration

	// RateLimits are the rules an administrator made. Defaults to none.
	RateLimits []RateLimit
	// DataPolicies make fields mandatory. Nil means the incident policies of a
	// fresh instance, an empty list means none.
	DataPolicies []DataPolicy
	// BusinessRules abort writes. Defaults to none.
	BusinessRules []BusinessRule
	// HiddenFields lists per table the fields an ACL hides from everybody but
	// admins: they are absent from answers. Defaults to none.
	HiddenFields map[string][]string
	// HiddenRow reports whether an ACL hides a row from a user. It is asked
	// after the page is cut, as an instance does, and must not call the Server.
	// Defaults to nothing hidden.
	HiddenRow func(user, table string, r Record) bool
	// ClosedWritable lets accounts without itil_admin or admin change a closed
	// incident. Defaults to false; the facts do not establish it.
	ClosedWritable bool
	// AutocloseAfter is glide.ui.autoclose.time: a resolved incident closes by
	// itself that long after. Defaults to 0, never.
	AutocloseAfter time.Duration
	// NoopBumps makes a PATCH that changes nothing count as a change. Defaults
	// to false, which is from memory, not from a recording.
	NoopBumps bool

	// InvalidQueryReturnsNoRows is glide.invalid_query.returns_no_rows.
	// Defaults to false: an invalid part is ignored and the rest is returned.
	InvalidQueryReturnsNoRows bool
	// ShuffleUnordered returns lists without ORDERBY in an order that differs
	// from call to call, as a database may. Defaults to false, oldest first.
	ShuffleUnordered bool
	// DynamicMe lists the sys_ids of the dynamic filter option "Me". Defaults
	// to the two that the vendor's operator page shows.
	DynamicMe []string

	// Priorities maps impact and urgency, written "1,2", to a priority.
	// Defaults to the lookup rules of a fresh instance.
	Priorities map[string]string
	// CloseCodes lists the resolution codes. Defaults to the eight current ones.
	CloseCodes []string
	// ChangeModels are the states each type of change request passes, in order;
	// it can be cancelled before the review. Defaults to those of a fresh instance.
	ChangeModels map[string][]string
	// ChangeApprovers are the user names asked to approve a change request of a
	// type, in the state after New; with none it passes through. Defaults to
	// beth.anglin and abel.tuter for normal and emergency changes.
	ChangeApprovers map[string][]string
	// ApprovalsNeeded is how many of them must approve; the others are then no
	// longer required. Defaults to 1.
	ApprovalsNeeded int
	// NoRevert takes away the move back to New. Defaults to false.
	NoRevert bool
	// OpenTasks is what becomes of the open tasks of a change request that goes
	// to Review, Closed or Canceled; instances differ. Defaults to RefuseOpenTasks.
	OpenTasks OpenTasks
	// OlderTaskStates gives tasks the states of the table they extend: Closed
	// Complete, Closed Incomplete and Closed Skipped. Defaults to false.
	OlderTaskStates bool
	// Rows are preloaded per table, sys_id given or generated. Nil means a few
	// groups and configuration items, an empty map means none. Users are
	// always added to sys_user.
	Rows map[string][]Record

	// MaxBody is glide.rest.max_content_length in bytes. Defaults to 10 MiB.
	MaxBody int64
	// RequestLog is how many requests Requests remembers. Defaults to 1000.
	RequestLog int
	// Control opens /__simulator/faults to admins. Defaults to false.
	Control bool
	// Answers are the refusals nobody has recorded. Zero ones get a default.
	Answers Answers
}

// Profile is what an instance knows of a user beside the password.
type Profile struct {
	// FullName is the display value of references. Defaults to the user name.
	FullName string
	// Email defaults to empty.
	Email string
	// TimeZone is an IANA name used for display values and display input. Defaults to GMT.
	TimeZone string
	// Roles are the platform's role names: itil, sn_incident_write, itil_admin, admin.
	Roles []string
	// MFA makes Basic authentication fail the way a missing second factor does.
	MFA bool
}

// OAuthClient is one entry of the application registry.
type OAuthClient struct {
	ID, Secret string
	// User is the OAuth Application User that client_credentials acts as.
	User string
	// Scope of the tokens. Defaults to useraccount, the only one that may use
	// the Table API.
	Scope string
}

// RateLimit allows Limit requests in each full hour to each user it matches.
type RateLimit struct {
	// SysID names the rule in X-RateLimit-Rule.
	SysID string
	Limit int
	// Users and Roles restrict the rule; both empty means everybody.
	Users, Roles []string
	// Lag is the time between flushes of the counters, 30 s on an instance; a
	// request counts from the next flush on. Defaults to 0, at once.
	Lag time.Duration
}

// DataPolicy makes fields mandatory on records whose Field holds one of Values.
type DataPolicy struct {
	Table  string
	Field  string
	Values []string
	// Mandatory names the fields. A choice that is not in sys_choice counts as missing.
	Mandatory []string
	// Fresh demands that the write which makes the policy apply brings the
	// values itself; what an earlier write left behind does not count.
	Fresh bool
}

// BusinessRule aborts inserts and updates whose result matches Query.
type BusinessRule struct {
	Name, SysID string
	Table       string
	// Query is an encoded query; empty matches every record.
	Query string
}

// ErrorAnswer is a refusal; "{sys_id}" in Detail stands for the key concerned.
type ErrorAnswer struct {
	Status          int
	Message, Detail string
}

// Answers are refusals whose exact text or status the facts could not establish.
type Answers struct {
	// Duplicate refuses a POST whose sys_id is taken. Defaults to 403 with the
	// database's message for a unique key.
	Duplicate ErrorAnswer
	// Oversize refuses a body over MaxBody. Defaults to 400; its detail is
	// always the recorded sentence with the sizes.
	Oversize ErrorAnswer
	// MissingHeader refuses a request without Accept or Content-Type. Defaults to 400.
	MissingHeader ErrorAnswer
	// BadBody refuses a body that is not JSON. Defaults to 400.
	BadBody ErrorAnswer
	// NegativeOffset refuses sysparm_offset below 0. Defaults to 400.
	NegativeOffset ErrorAnswer
	// IllegalMove refuses a state a change request cannot go to. Nobody has
	// recorded it. Defaults to 400.
	IllegalMove ErrorAnswer
	// TaskMove refuses to bring a task back to an earlier state. Defaults to 400.
	TaskMove ErrorAnswer
	// TaskOfEnded refuses to make or change a task of a change request that is
	// closed or cancelled. Defaults to 403.
	TaskOfEnded ErrorAnswer
	// TaskOutside refuses planned times of an implementation task outside those
	// of its change request. Defaults to 403, a business rule.
	TaskOutside ErrorAnswer
	// OpenTasks refuses the end of a change request with open tasks. Defaults to
	// 403, a business rule.
	OpenTasks ErrorAnswer
}

func (c Config) withDefaults() Config {
	if c.Seed == "" {
		c.Seed = "fettle"
	}
	if c.Users == nil {
		c.Users = map[string]string{}
		for _, name := range []string{"fettle", "beth.anglin", "abel.tuter", "admin"} {
			c.Users[name] = name
		}
	}
	profiles := map[string]Profile{
		"fettle":      {FullName: "Fettle Integration", Roles: []string{"itil"}},
		"beth.anglin": {FullName: "Beth Anglin", Email: "beth.anglin@example.com", Roles: []string{"itil"}},
		"abel.tuter":  {FullName: "Abel Tuter", Email: "abel.tuter@example.com"},
		"admin":       {FullName: "System Administrator", Email: "admin@example.com", Roles: []string{"admin"}},
	}
	maps.Copy(profiles, c.Profiles)
	c.Profiles = profiles
	setDefault(&c.AccessTokenLife, 30*time.Minute)
	setDefault(&c.RefreshTokenLife, 100*24*time.Hour)
	setDefault(&c.MaxBody, 10<<20)
	setDefault(&c.RequestLog, 1000)
	if c.DataPolicies == nil {
		c.DataPolicies = []DataPolicy{
			{Table: "incident", Field: "state", Values: []string{"6", "7"}, Mandatory: []string{"close_code", "close_notes"}, Fresh: true},
			{Table: "incident", Field: "state", Values: []string{"3"}, Mandatory: []string{"hold_reason"}},
			{Table: changeTable, Field: "state", Values: []string{changeClosed}, Mandatory: []string{"close_code", "close_notes"}, Fresh: true},
			{Table: changeTable, Field: "state", Values: []string{changeAssess, changeAuthorize, changeScheduled, changeImplement, changeReview}, Mandatory: []string{"assignment_group"}},
			{Table: changeTable, Field: "on_hold", Values: []string{"true"}, Mandatory: []string{"on_hold_reason"}},
			{Table: taskTable, Field: "state", Values: []string{taskClosed}, Mandatory: []string{"close_code", "close_notes"}},
			{Table: taskTable, Field: "on_hold", Values: []string{"true"}, Mandatory: []string{"on_hold_reason"}},
		}
	}
	if c.DynamicMe == nil {
		c.DynamicMe = []string{"90d1921e5f510100a9ad2572f2b477fe", "54635e965f510100a9ad2572f2b4774c"}
	}
	if c.Priorities == nil {
		c.Priorities = map[string]string{
			"1,1": "1", "1,2": "2", "1,3": "3",
			"2,1": "2", "2,2": "3", "2,3": "4",
			"3,1": "3", "3,2": "4", "3,3": "5",
		}
	}
	if c.CloseCodes == nil {
		c.CloseCodes = []string{
			"Duplicate", "Known error", "Resolved by caller", "Resolved by change", "Resolved by problem",
			"Solution provided", "Workaround provided", "User error",
		}
	}
	if c.ChangeModels == nil {
		c.ChangeModels = map[string][]string{
			"normal":    {changeNew, changeAssess, changeAuthorize, changeScheduled, changeImplement, changeReview, changeClosed},
			"standard":  {changeNew, changeScheduled, changeImplement, changeReview, changeClosed},
			"emergency": {changeNew, changeAuthorize, changeScheduled, changeImplement, changeReview, changeClosed},
		}
	}
	if c.ChangeApprovers == nil {
		c.ChangeApprovers = map[string][]string{"normal": {"beth.anglin", "abel.tuter"}, "emergency": {"beth.anglin", "abel.tuter"}}
	}
	setDefault(&c.ApprovalsNeeded, 1)
	setDefault(&c.OpenTasks, RefuseOpenTasks)
	if c.Rows == nil {
		c.Rows = demonstrationRows()
	}
	c.Answers = c.Answers.withDefaults()
	return c
}

func (a Answers) withDefaults() Answers {
	setDefault(&a.Duplicate, ErrorAnswer{403, "Operation Failed", "Unique Key violation detected by database (Duplicate entry '{sys_id}' for key 'PRIMARY')"})
	setDefault(&a.Oversize, ErrorAnswer{Status: 400, Message: "Exception while reading request"})
	setDefault(&a.MissingHeader, ErrorAnswer{400, "Invalid headers", "Accept is required, and Content-Type on POST, PUT, PATCH and DELETE"})
	setDefault(&a.BadBody, ErrorAnswer{400, "Exception while reading request", "The payload is not valid JSON."})
	setDefault(&a.IllegalMove, ErrorAnswer{400, "Operation Failed", "The change request cannot be moved to this state"})
	aborted := "Operation against file '%s' was aborted by Business Rule '%s'"
	setDefault(&a.TaskMove, ErrorAnswer{400, "Operation Failed", "The change task cannot be moved to this state"})
	setDefault(&a.TaskOfEnded, ErrorAnswer{403, "Operation Failed", "ACL Exception Update Failed due to security constraints"})
	setDefault(&a.TaskOutside, ErrorAnswer{403, "Operation Failed", fmt.Sprintf(aborted, taskTable, "Planned dates within change")})
	setDefault(&a.OpenTasks, ErrorAnswer{403, "Operation Failed", fmt.Sprintf(aborted, changeTable, "Change tasks are open")})
	setDefault(&a.NegativeOffset, ErrorAnswer{400, "Invalid sysparm_offset", "Negative offset is not supported"})
	return a
}

// setDefault fills a value that was left out.
func setDefault[T comparable](v *T, fallback T) {
	var zero T
	if *v == zero {
		*v = fallback
	}
}

// demonstrationRows are the groups and configuration items of an instance
// whose Config names none.
func demonstrationRows() map[string][]Record {
	rows := map[string][]Record{}
	for _, name := range []string{"Service Desk", "Network", "Hardware", "Database"} {
		rows["sys_user_group"] = append(rows["sys_user_group"], Record{"name": name})
	}
	rows["cmdb_ci"] = []Record{
		{"name": "web-01", "sys_class_name": "cmdb_ci_linux_server", "ip_address": "10.0.0.11"},
		{"name": "db-01", "sys_class_name": "cmdb_ci_linux_server", "ip_address": "10.0.0.21"},
	}
	return rows
}
