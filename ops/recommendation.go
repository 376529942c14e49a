package ops

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// RecommendationState is where a recommendation stands.
type RecommendationState string

// The states of a recommendation.
const (
	RecommendationNew        RecommendationState = "new"        // waits for its producer's tags, or for the change of the one before
	RecommendationPlaced     RecommendationState = "placed"     // a change carries it
	RecommendationUnplaced   RecommendationState = "unplaced"   // kept and listed; Why says what is missing
	RecommendationSuperseded RecommendationState = "superseded" // a later one recommends something else
	RecommendationDone       RecommendationState = "done"       // its change is closed
	RecommendationWithdrawn  RecommendationState = "withdrawn"  // by its producer, a person, or with its change
)

// RecommendationStates lists all states.
var RecommendationStates = []RecommendationState{RecommendationNew, RecommendationPlaced, RecommendationUnplaced, RecommendationSuperseded, RecommendationDone, RecommendationWithdrawn}

// Live reports whether something may still come of the recommendation.
func (s RecommendationState) Live() bool {
	return s == RecommendationNew || s == RecommendationPlaced || s == RecommendationUnplaced
}

// ParseRecommendationState returns the state named s.
func ParseRecommendationState(s string) (RecommendationState, error) {
	if slices.Contains(RecommendationStates, RecommendationState(s)) {
		return RecommendationState(s), nil
	}
	return "", fmt.Errorf("recommendation state %q is none of new, placed, unplaced, superseded, done, withdrawn: %w", s, ErrInvalid)
}

// The producers of recommendations.
const (
	ProducerDensify          = "densify"
	ProducerComputeOptimizer = "compute_optimizer"
	ProducerParameterStore   = "parameter_store"
)

// The services a recommendation may be about.
const (
	ServiceEC2 = "ec2" // an instance: its type
	ServiceRDS = "rds" // a database instance: its class
	ServiceASG = "asg" // an Auto Scaling group: instance type, smallest and largest size
)

// Values are what a resource is, or what it should be.
type Values struct {
	// Type is the instance type, or the class of a database instance. Empty
	// leaves it as it is.
	Type string `json:"type,omitempty"`
	// Group is set for Auto Scaling groups whose sizes are known.
	Group *GroupSize `json:"group,omitempty"`
}

// GroupSize is how many instances an Auto Scaling group may have.
type GroupSize struct {
	Min int64 `json:"min"`
	Max int64 `json:"max"`
}

// Equal reports whether two values are the same.
func (v Values) Equal(o Values) bool {
	if (v.Group == nil) != (o.Group == nil) {
		return false
	}
	return v.Type == o.Type && (v.Group == nil || *v.Group == *o.Group)
}

// String shows the values to people: m5.large, or m5.large, 2 to 6.
func (v Values) String() string {
	switch {
	case v.Group == nil:
		return v.Type
	case v.Type == "":
		return fmt.Sprintf("%d to %d", v.Group.Min, v.Group.Max)
	}
	return fmt.Sprintf("%s, %d to %d", v.Type, v.Group.Min, v.Group.Max)
}

// Saving is what a change is said to save; negative costs more.
type Saving struct {
	Amount   float64 `json:"amount"`
	Currency string  `json:"currency,omitempty"` // ISO 4217; empty: the producer does not say
	Per      string  `json:"per,omitempty"`      // hour, month or year; empty: the producer does not say
}

// Hours of the spans a saving may be given per. A month is a twelfth of a year
// of 365 days, as cloud price lists count it.
var hoursPer = map[string]float64{"hour": 1, "month": 730, "year": 8760}

// PerHour returns the saving of one hour, and false when nobody knows per what
// span it is given.
func (s Saving) PerHour() (float64, bool) {
	h, ok := hoursPer[s.Per]
	if !ok {
		return 0, false
	}
	return s.Amount / h, true
}

// Recommendation is an optimisation insight: what a resource is, what it should
// be, and what that would bring. The fields up to Raw are its producer's; the
// room change keeps the others.
type Recommendation struct {
	Integration string `json:"integration"`
	Producer    string `json:"producer"` // densify, compute_optimizer, parameter_store
	EntityID    string `json:"entity_id,omitempty"`
	Account     string `json:"account"`
	Region      string `json:"region"`
	Service     string `json:"service"` // ec2, rds, asg
	// ResourceKey is the resource as its cloud names it: instance id, database
	// identifier, name of the group.
	ResourceKey string      `json:"resource_key"`
	Name        string      `json:"name"`
	Resource    ResourceRef `json:"resource,omitzero"`

	Current     Values `json:"current,omitzero"`
	Recommended Values `json:"recommended,omitzero"`
	// Kind is the producer's word for it: Upsize, Downsize, Modernize, Terminate.
	Kind            string            `json:"kind,omitempty"`
	Saving          *Saving           `json:"saving,omitempty"`
	Effort          string            `json:"effort,omitempty"`
	PredictedUptime *float64          `json:"predicted_uptime,omitempty"` // percent
	ApprovalType    string            `json:"approval_type,omitempty"`    // shown; never an approval
	Implementation  string            `json:"implementation,omitempty"`   // the producer's implementationMethod
	Tags            map[string]string `json:"tags,omitempty"`             // aws: is cut off the names
	Stack           string            `json:"stack,omitempty"`            // id, else name, of the CloudFormation stack
	LogicalID       string            `json:"logical_id,omitempty"`
	ReportHref      string            `json:"report_href,omitempty"` // of the analysis report, at its producer
	ObservedAt      time.Time         `json:"observed_at,omitzero"`  // when the producer last saw it, by its clock
	// Wants is what must be asked of the producer before it can be placed;
	// empty: nothing.
	Wants string `json:"wants,omitempty"`
	// Gone says why there is nothing to do any more: the producer takes it back.
	Gone string `json:"gone,omitempty"`
	// Fault says why the entry cannot be read. Such a one is never placed.
	Fault string `json:"fault,omitempty"`
	// Raw is the entry as it came.
	Raw json.RawMessage `json:"raw,omitempty"`

	ID         string              `json:"id,omitempty"`
	Number     int64               `json:"number,omitempty"`
	State      RecommendationState `json:"state,omitempty"`
	Why        string              `json:"why,omitempty"` // it stands where it does
	Rule       string              `json:"rule,omitempty"`
	ChangeID   string              `json:"change_id,omitempty"`
	Change     string              `json:"change,omitempty"` // CHG-42
	Outcome    Outcome             `json:"outcome,omitempty"`
	Supersedes string              `json:"supersedes,omitempty"` // REC-41
	ResourceID string              `json:"resource_id,omitempty"`
	Report     string              `json:"report,omitempty"` // digest of the artefact
	Asked      int                 `json:"asked,omitempty"`  // how often the producer was asked for Wants
	DueAt      time.Time           `json:"due_at,omitzero"`  // it is looked at again; zero: only when something comes
	FirstSeen  time.Time           `json:"first_seen,omitzero"`
	LastSeen   time.Time           `json:"last_seen,omitzero"`
	UpdatedAt  time.Time           `json:"updated_at,omitzero"`
	EndedAt    time.Time           `json:"ended_at,omitzero"`
	Realised   *Realised           `json:"realised,omitempty"`
	Version    int64               `json:"version,omitempty"`
}

// Realised is what a recommendation brought after its change, against what was
// predicted. What is unknown stays nil.
type Realised struct {
	Since     time.Time `json:"since"` // the change was applied
	Until     time.Time `json:"until"` // as far as it is counted
	Hours     float64   `json:"hours"` // the resource was seen, or taken, to run
	Currency  string    `json:"currency,omitempty"`
	Predicted *float64  `json:"predicted,omitempty"` // in Hours, by the producer's saving
	Before    *float64  `json:"before,omitempty"`    // price per hour, from the configuration
	After     *float64  `json:"after,omitempty"`
	Amount    *float64  `json:"amount,omitempty"`     // (Before - After) * Hours
	Why       string    `json:"why,omitempty"`        // Amount is unknown
	Regressed string    `json:"regressed,omitempty"`  // how it went wrong; empty: it did not
	Final     bool      `json:"final,omitempty"`      // nothing is counted any more
	CountedBy string    `json:"counted_by,omitempty"` // what Hours rest on
}

// Key returns the number people use, REC-42.
func (r Recommendation) Key() string { return fmt.Sprintf("REC-%d", r.Number) }

// Subject returns the subject of the recommendation's facts.
func (r Recommendation) Subject() string { return RecommendationSubject(r.ID) }

// RecommendationSubject returns the fact subject of the recommendation with
// this id.
func RecommendationSubject(id string) string { return "recommendation/" + id }

// ValueKind is what the recommendation would change: instanceType,
// dbInstanceClass or group.
func (r Recommendation) ValueKind() string {
	switch r.Service {
	case ServiceRDS:
		return "dbInstanceClass"
	case ServiceASG:
		return "group"
	}
	return "instanceType"
}

// Identity names what recommendations are about: two of one identity are about
// the same value of the same resource, and the later one counts. An entry that
// cannot be read has one of its own, by what it says where it does not say what
// it is about, so that it never stands in for one that can.
func (r Recommendation) Identity() string {
	id := []string{r.Integration, r.Account, r.Region, r.Service, r.ResourceKey, r.ValueKind()}
	if r.Fault != "" {
		id = append(id, "unreadable")
		if r.Account == "" || r.Region == "" || r.ResourceKey == "" {
			sum := sha256.Sum256(r.Raw)
			id = append(id, hex.EncodeToString(sum[:12]))
		}
	}
	return strings.Join(id, "|")
}

// SameValues reports whether two recommendations say the same about the types.
func (r Recommendation) SameValues(o Recommendation) bool {
	return r.Current.Equal(o.Current) && r.Recommended.Equal(o.Recommended)
}

// Hint is what ICCO's approve and close callbacks say. It proves nothing: it
// only makes the change's ticket be read again from its platform.
type Hint struct {
	Integration string   `json:"integration"`
	Word        string   `json:"word"` // approve, close
	Service     string   `json:"service"`
	Name        string   `json:"name,omitempty"`
	ResourceKey string   `json:"resource_key"`
	Region      string   `json:"region"`
	Accounts    []string `json:"accounts,omitempty"` // the sender speaks for; empty: any
}

// Analysis is what a change carries of its recommendation, for its ticket and
// for policies.
type Analysis struct {
	Recommendation  string   `json:"recommendation"` // REC-42
	Producer        string   `json:"producer"`
	Account         string   `json:"account"`
	Region          string   `json:"region"`
	Service         string   `json:"service"`
	ResourceKey     string   `json:"resource_key"`
	Stack           string   `json:"stack,omitempty"`
	LogicalID       string   `json:"logical_id,omitempty"`
	Current         Values   `json:"current"`
	Recommended     Values   `json:"recommended"`
	Kind            string   `json:"kind,omitempty"`
	Saving          *Saving  `json:"saving,omitempty"`
	Effort          string   `json:"effort,omitempty"`
	PredictedUptime *float64 `json:"predicted_uptime,omitempty"` // percent
	// Parameter is the key of the parameter repository that carries the value;
	// empty: none does.
	Parameter string `json:"parameter,omitempty"`
	Report    string `json:"report,omitempty"` // digest of the artefact
}

// RecommendationFilter selects recommendations, newest first. Zero fields
// select all.
type RecommendationFilter struct {
	States   []RecommendationState
	Service  string
	Kind     string
	Resource string // resource id
	Change   string // change id
	Text     string // part of the key, name, resource, stack or reason
	Before   int64  // only numbers below this one: the cursor of the next page
	Limit    int    // 0 means 100
}

// RecommendationTotals are the sums over recommendations of one kind.
type RecommendationTotals struct {
	Kind     string `json:"kind"`
	Currency string `json:"currency,omitempty"`
	Count    int    `json:"count"` // all that were ever made
	Live     int    `json:"live"`
	Placed   int    `json:"placed"`
	Unplaced int    `json:"unplaced"`
	Done     int    `json:"done"` // with a successful change
	// Open is the predicted saving per hour of those that are live.
	Open float64 `json:"open"`
	// Predicted and Realised are over the same hours of those whose realised
	// saving is known; Ratio is Realised by Predicted, nil without a prediction.
	Predicted float64  `json:"predicted"`
	Realised  float64  `json:"realised"`
	Measured  int      `json:"measured"`
	Ratio     *float64 `json:"ratio,omitempty"`
	Regressed int      `json:"regressed"`
}
