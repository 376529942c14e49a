package terraform

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/fettleops/fettle/ops"
)

// The marks that are no runs. No token of a run begins with @.
const (
	keyMark     = "@key"
	appliedMark = "@applied"
)

// applied is what was last applied through this executor.
type applied struct {
	Files  string            `json:"files,omitempty"`  // digest of the configuration
	Values map[string]string `json:"values,omitempty"` // what changes have set
}

// valuesFor returns what earlier changes have set in these very files. An edit
// of the files ends it: from then on they say what is wanted.
func (a applied) valuesFor(digest string) map[string]string {
	if a.Files != digest || a.Values == nil {
		return map[string]string{}
	}
	return maps.Clone(a.Values)
}

func (x *Executor) lastApplied(ctx context.Context) (applied, error) {
	note, _, err := x.env.Marks.Mark(ctx, appliedMark, "{}")
	var a applied
	if err == nil {
		err = json.Unmarshal([]byte(note), &a)
	}
	if err != nil {
		return a, fmt.Errorf("terraform: what was last applied is not known: %w: %w", err, ops.ErrUnavailable)
	}
	return a, nil
}

func (x *Executor) rememberApplied(ctx context.Context, a applied) error {
	if _, err := x.lastApplied(ctx); err != nil {
		return err
	}
	return x.env.Marks.Note(ctx, appliedMark, string(canonical(a)))
}

// reader returns a reader with the executor's key, which all replicas share and
// which is made by the first.
func (x *Executor) reader(ctx context.Context) (*reader, error) {
	fresh := make([]byte, 32)
	_, _ = rand.Read(fresh) // never fails
	note, _, err := x.env.Marks.Mark(ctx, keyMark, base64.StdEncoding.EncodeToString(fresh))
	if err != nil {
		return nil, fmt.Errorf("terraform: the key of sensitive values: %w: %w", err, ops.ErrUnavailable)
	}
	key, err := base64.StdEncoding.DecodeString(note)
	if err != nil || len(key) != len(fresh) {
		return nil, errors.Join(fmt.Errorf("terraform: the key of sensitive values is damaged: %w", ops.ErrInternal), err)
	}
	return &reader{key: key, hidden: map[string]bool{}}, nil
}

// masked returns a function that takes values out of text, the longest first.
func masked(values []string) func(string) string {
	pairs := make([]string, 0, 4*len(values))
	for _, v := range values {
		pairs = append(pairs, v, "(sensitive value)")
		// Inside of JSON and of quoted text it is written otherwise.
		if quoted := strings.Trim(string(canonical(v)), `"`); quoted != v {
			pairs = append(pairs, quoted, "(sensitive value)")
		}
	}
	r := strings.NewReplacer(pairs...)
	return r.Replace
}
