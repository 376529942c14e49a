package api

import (
	"time"

	"github.com/fettleops/fettle/ops"
)

// maxViewAlerts bounds what one incident shows of its alerts.
const maxViewAlerts = 100

// IncidentView is an incident with its first alerts and its tickets.
type IncidentView struct {
	ops.Incident
	Key     string       `json:"key" doc:"the number people use, INC-42"`
	Alerts  []ops.Member `json:"alerts" doc:"the first 100, those that fire before the others; total counts all, and /incidents/{id}/alerts lists them"`
	Tickets []ops.Ticket `json:"tickets"`
}

// ChangeView is a change with the plan that counts and, where it is read alone,
// its tickets.
type ChangeView struct {
	ops.Change
	Key     string       `json:"key" doc:"the number people use, CHG-42"`
	Plan    *ops.Plan    `json:"plan,omitempty"`
	Tickets []ops.Ticket `json:"tickets,omitempty" doc:"only of one change, never in a list"`
}

// TrailView is the story of a record.
type TrailView struct {
	Subject  string           `json:"subject"`
	Key      string           `json:"key"`
	Entries  []ops.TrailEntry `json:"entries"`
	Verified string           `json:"verified,omitempty" doc:"what checking the hash chain found; only when it was asked for"`
	Intact   bool             `json:"intact" doc:"the hash chain holds; only meaningful with verified"`
}

// NewChange asks for a change by hand.
type NewChange struct {
	Title        string   `json:"title" minLength:"1" maxLength:"200" doc:"what is changed"`
	Reason       string   `json:"reason,omitempty" maxLength:"4000" doc:"why"`
	Type         string   `json:"type,omitempty" enum:"normal,emergency" default:"normal"`
	Executor     string   `json:"executor" minLength:"1" doc:"name of a configured executor"`
	Action       string   `json:"action" minLength:"1" maxLength:"200" doc:"what the executor is to do"`
	Args         []string `json:"args,omitempty" maxItems:"100"`
	Resource     string   `json:"resource,omitempty" doc:"id of the resource it is done to"`
	Incident     string   `json:"incident,omitempty" doc:"id or number of the incident it is for"`
	Team         string   `json:"team,omitempty" maxLength:"100"`
	Risk         *float64 `json:"risk,omitempty" minimum:"0" maximum:"1" doc:"left out: unknown, which counts as 1"`
	VerifyWithin string   `json:"verify_within,omitempty" doc:"how long the cause may take to go away, such as 10m, which is the default"`
	Via          string   `json:"via,omitempty" enum:"api,cli" default:"api"`
}

// NewToken asks for a token.
type NewToken struct {
	For   string   `json:"for" minLength:"1" maxLength:"100" doc:"name of the principal; made when it does not exist"`
	Roles []string `json:"roles,omitempty" doc:"roles of a principal that is made; an existing one keeps its own unless it is no person of the configuration"`
	Kind  string   `json:"kind,omitempty" enum:"person,service" default:"person" doc:"only persons approve"`
	Name  string   `json:"name,omitempty" doc:"what the token is for"`
	Days  int      `json:"days,omitempty" minimum:"0" doc:"days until it expires; 0 means never"`
}

// CreatedToken holds a secret that cannot be had again.
type CreatedToken struct {
	TokenView
	Token string `json:"token"`
}

// TokenView is a token without its secret.
type TokenView struct {
	ID         string     `json:"id"`
	For        string     `json:"for"`
	Roles      []ops.Role `json:"roles"`
	Name       string     `json:"name,omitempty"`
	CreatedAt  time.Time  `json:"created_at"`
	ExpiresAt  time.Time  `json:"expires_at,omitzero"`
	RevokedAt  time.Time  `json:"revoked_at,omitzero"`
	LastUsedAt time.Time  `json:"last_used_at,omitzero"`
}

// IntegrationView is an integration with what is wrong with it. Its URL is empty
// when its source fetches.
type IntegrationView struct {
	Name     string    `json:"name"`
	Source   string    `json:"source"`
	URL      string    `json:"url"`
	Findings []Finding `json:"findings"`
}

// Finding is one thing that is wrong with a set-up.
type Finding struct {
	What string `json:"what"`
	Fix  string `json:"fix"`
}

// PlatformView is how a platform is doing.
type PlatformView struct {
	Name      string    `json:"name"`
	Connector string    `json:"connector"`
	Up        bool      `json:"up"`
	Since     time.Time `json:"since,omitzero" doc:"of the trouble"`
	Error     string    `json:"error,omitempty"`
	Conflict  string    `json:"conflict" doc:"whose value stands when both sides changed a field"`
}

// Checked is the answer of a connection test.
type Checked struct {
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty" doc:"what is wrong and how to mend it"`
}

// Execution is the switch that stops all execution.
type Execution struct {
	Stopped bool   `json:"stopped"`
	Reason  string `json:"reason"`
}
