package ops

import (
	"fmt"
	"slices"
	"time"
)

// PrincipalKind tells a person from a machine. Only persons approve.
type PrincipalKind string

// The kinds of principal.
const (
	Person  PrincipalKind = "person"
	Service PrincipalKind = "service"
	System  PrincipalKind = "system"
)

// Role is what a principal may do. Each role includes what its comment says.
type Role string

// The roles, from least to most.
const (
	Viewer            Role = "viewer"             // read everything but tokens
	Responder         Role = "responder"          // viewer; acknowledge, comment, resolve and close incidents
	Approver          Role = "approver"           // responder; approve and deny changes in scope
	ApplicationOwner  Role = "application-owner"  // approver for the team's own resources
	ChangeManager     Role = "change-manager"     // approver; cancel changes, freezes, windows, stop execution
	IncidentCommander Role = "incident-commander" // change-manager; break glass
	Admin             Role = "admin"              // everything, tokens and users too
)

// Roles lists all roles, from least to most.
var Roles = []Role{Viewer, Responder, Approver, ApplicationOwner, ChangeManager, IncidentCommander, Admin}

// ParseRole returns the role named s.
func ParseRole(s string) (Role, error) {
	if slices.Contains(Roles, Role(s)) {
		return Role(s), nil
	}
	return "", fmt.Errorf("role %q is none of viewer, responder, approver, application-owner, change-manager, incident-commander, admin: %w", s, ErrInvalid)
}

// Principal is who did something: a person, a service or the system itself.
type Principal struct {
	ID    string        `json:"id"`
	Name  string        `json:"name"`
	Kind  PrincipalKind `json:"kind"`
	Roles []Role        `json:"roles"`
	Teams []string      `json:"teams,omitempty"`
	// Platforms maps a platform's name to this principal's user there.
	Platforms map[string]string `json:"platforms,omitempty"`
}

// SystemPrincipal acts for Fettle itself; it can never approve.
var SystemPrincipal = Principal{ID: "system", Name: "fettle", Kind: System}

// Permission is one thing a principal may be allowed to do.
type Permission string

// The permissions that handlers ask for.
const (
	MayRead          Permission = "read"
	MayWorkIncidents Permission = "work on incidents"
	MayApprove       Permission = "approve or deny changes"
	MayManageChanges Permission = "manage changes"
	MayBreakGlass    Permission = "break glass"
	MayAdminister    Permission = "administer"
)

// grants names the least role, by position in Roles, that holds a permission.
var grants = map[Permission][]Role{
	MayRead:          Roles,
	MayWorkIncidents: Roles[1:],
	MayApprove:       Roles[2:],
	MayManageChanges: Roles[4:],
	MayBreakGlass:    Roles[5:],
	MayAdminister:    Roles[6:],
}

// May reports whether the principal holds the permission through any role.
func (p Principal) May(want Permission) bool {
	for _, r := range p.Roles {
		if slices.Contains(grants[want], r) {
			return true
		}
	}
	return false
}

// Has reports whether the principal holds exactly this role or is an admin.
func (p Principal) Has(r Role) bool {
	return slices.Contains(p.Roles, r) || slices.Contains(p.Roles, Admin)
}

// Require returns ErrDenied, with who may, unless the principal may.
func (p Principal) Require(want Permission) error {
	if p.May(want) {
		return nil
	}
	return fmt.Errorf("%s may not %s; this needs one of the roles %v: %w", p.Name, want, grants[want], ErrDenied)
}

// Token is a credential of a principal. Only its SHA-256 is stored.
type Token struct {
	ID          string    `json:"id"`
	PrincipalID string    `json:"principal_id"`
	Name        string    `json:"name"`
	CreatedAt   time.Time `json:"created_at"`
	ExpiresAt   time.Time `json:"expires_at,omitzero"`
	RevokedAt   time.Time `json:"revoked_at,omitzero"`
	LastUsedAt  time.Time `json:"last_used_at,omitzero"`
}
