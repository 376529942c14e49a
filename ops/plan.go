package ops

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"sort"
)

// Plan is what an executor would do, rendered. Two plans with equal content
// have equal digests, whenever and wherever they were made.
type Plan struct {
	ID           string            `json:"id"`
	ChangeID     string            `json:"change_id"`
	Revision     int               `json:"revision"`
	Executor     string            `json:"executor"` // the configured name
	Tool         string            `json:"tool"`
	Target       string            `json:"target"` // what it acts on, canonical
	Actions      []PlanAction      `json:"actions"`
	Rollback     []PlanAction      `json:"rollback"`         // what undoes it; empty means it cannot be undone
	Config       string            `json:"config"`           // digest of the executor's configuration
	Inputs       map[string]string `json:"inputs,omitempty"` // measured values the plan depends on
	ApplySecs    int               `json:"apply_seconds"`    // estimate; part of "fits in the window", not of the digest
	RollbackSecs int               `json:"rollback_seconds"` // estimate
	Text         string            `json:"text"`             // for people: a diff with + - ~ signs
	Digest       string            `json:"digest"`
}

// PlanAction is one change to one resource.
type PlanAction struct {
	Resource string `json:"resource"`
	Verb     string `json:"verb"` // create, update, delete, replace, run
	Replace  bool   `json:"replace,omitempty"`
	// Before and After hold each attribute that changes. A sensitive value is
	// given as a keyed hash, never in clear.
	Before map[string]string `json:"before,omitempty"`
	After  map[string]string `json:"after,omitempty"`
	// Args is the exact argument vector of a command.
	Args []string `json:"args,omitempty"`
}

// ComputeDigest returns the SHA-256, in hex, of the plan's canonical content:
// target, sorted resource actions with before and after, replace flags,
// rollback content, measured inputs, executor and its configuration digest.
// Times, ids, estimates and the rendering do not count.
func (p Plan) ComputeDigest() string {
	content := struct {
		Tool, Executor, Target, Config string
		Actions, Rollback              []PlanAction
		Inputs                         map[string]string
	}{p.Tool, p.Executor, p.Target, p.Config, sortedActions(p.Actions), p.Rollback, p.Inputs}
	b, err := json.Marshal(content) // maps marshal with sorted keys
	if err != nil {
		panic("ops: a plan of strings always marshals: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// sortedActions orders actions by resource and verb. Actions of one resource
// and verb keep their order, because there it is the order of execution.
func sortedActions(in []PlanAction) []PlanAction {
	out := append([]PlanAction{}, in...)
	sort.SliceStable(out, func(i, j int) bool {
		if out[i].Resource != out[j].Resource {
			return out[i].Resource < out[j].Resource
		}
		return out[i].Verb < out[j].Verb
	})
	return out
}
