// Package parameter is the repository of values that templates and tools read:
// AWS Systems Manager Parameter Store in each account and region, or a table of
// Fettle's own where there is none.
//
// A value that was recommended becomes readable only when it is put, which
// executors do inside the window and under the lease of the change, and the old
// value is put back when the change is rolled back. Keys and lifecycle labels
// are those of ICCO, so that templates written for it keep working.
package parameter

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/fettleops/fettle/ops"
)

// Kind is the type of a parameter.
type Kind string

// The kinds, as Parameter Store names them. Values of Secure parameters are
// neither read nor written here.
const (
	String Kind = "String"
	List   Kind = "StringList"
	Secure Kind = "SecureString"
)

// Parameter is the newest version of one value.
type Parameter struct {
	Key      string
	Value    string // empty for Secure
	Kind     Kind
	DataType string // text, or what the service checks the value to be
	// Version grows by one with every write of this key.
	Version int64
	// Label is where this version stands in the life of a recommendation; List
	// leaves it and Note empty.
	Label Label
	Note  string // for people
	At    time.Time
}

// Edit is one write.
type Edit struct {
	Key, Value string
	// Version is the version the writer has seen; 0: the key must not exist yet.
	Version int64
	// Token is the same at every retry and names this write alone.
	Token string
	// Kind and DataType of a new key; default String and text. An existing key
	// keeps what it has.
	Kind     Kind
	DataType string
	Note     string // for people; at most MaxNote bytes; default: keep what stands there
}

// Limits of a value and a note, in bytes; those of the Standard tier.
const (
	MaxValue = 4 << 10
	MaxNote  = 900
)

// Repository keeps parameters of one account and region. It is safe for
// concurrent use. Errors wrap the classes of ops: ErrNotFound for a key that is
// not there, ErrConflict for a version that is no longer the newest, ErrInvalid
// for an edit no repository takes.
type Repository interface {
	// Get returns the newest version under key.
	Get(ctx context.Context, key string) (Parameter, error)
	// List returns the newest version of every key below path, by key.
	List(ctx context.Context, path string) ([]Parameter, error)
	// Put writes a new version if e.Version still is the newest. A second call
	// under the same token writes nothing and returns what the first one wrote.
	// An error that is an *ops.UnknownOutcome is resolved by calling again.
	Put(ctx context.Context, e Edit) (Parameter, error)
	// Mark gives version of key this label, in place of any other lifecycle
	// label it has. Marking twice changes nothing.
	Mark(ctx context.Context, key string, version int64, l Label) error
	// Delete removes key if version still is the newest. A key that is not there
	// is no error.
	Delete(ctx context.Context, key string, version int64) error
}

// Tagger is a repository whose keys have tags.
type Tagger interface {
	// Tags returns the tags of a key; ErrNotFound when it is not there.
	Tags(ctx context.Context, key string) (map[string]string, error)
}

var keyPattern = regexp.MustCompile(`^(/[A-Za-z0-9._-]+){1,15}$`)

// CheckKey returns ErrInvalid for a key that Parameter Store would refuse.
func CheckKey(key string) error {
	low := strings.ToLower(key)
	switch {
	case len(key) > 1011 || !keyPattern.MatchString(key):
		return fmt.Errorf("parameter key %q: write /a/b with letters, digits, . _ - and at most 15 parts: %w", key, ops.ErrInvalid)
	case strings.HasPrefix(low, "/aws") || strings.HasPrefix(low, "/ssm"):
		return fmt.Errorf("parameter key %q: keys below /aws and /ssm are the service's own: %w", key, ops.ErrInvalid)
	}
	return nil
}

// check returns ErrInvalid for an edit no repository takes.
func (e Edit) check() error {
	if err := CheckKey(e.Key); err != nil {
		return err
	}
	switch {
	case e.Value == "" || len(e.Value) > MaxValue:
		return fmt.Errorf("parameter %s: its value has %d bytes, not 1 to %d: %w", e.Key, len(e.Value), MaxValue, ops.ErrInvalid)
	case len(e.Note) > MaxNote:
		return fmt.Errorf("parameter %s: its note has %d bytes, more than %d: %w", e.Key, len(e.Note), MaxNote, ops.ErrInvalid)
	case e.Token == "":
		return fmt.Errorf("parameter %s: a write without a token cannot be retried: %w", e.Key, ops.ErrInvalid)
	case e.Kind == Secure:
		return secret(e.Key)
	}
	return nil
}

func secret(key string) error {
	return fmt.Errorf("parameter %s is a SecureString, whose value must not stand in a plan; use a String: %w", key, ops.ErrInvalid)
}

func moved(key string, is, want int64) error {
	return fmt.Errorf("parameter %s is at version %d, not %d: %w", key, is, want, ops.ErrConflict)
}

// seal is how a version says which write made it. It does not tell the token.
func seal(token string) string {
	sum := sha256.Sum256([]byte("parameter/" + token))
	return hex.EncodeToString(sum[:12])
}
