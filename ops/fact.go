package ops

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// Fact is something that happened. Facts are never rewritten; they are
// hash-chained per subject, and that chain is the audit trail.
type Fact struct {
	Seq        int64           `json:"seq"`     // order over all subjects, set by the store
	ID         string          `json:"id"`      // uuidv7, set by the store
	Subject    string          `json:"subject"` // incident/<id>, change/<id>, resource/<id> or system
	Kind       FactKind        `json:"kind"`
	Version    int             `json:"version"`         // of the body's shape
	At         time.Time       `json:"at"`              // when it happened
	RecordedAt time.Time       `json:"recorded_at"`     // when we wrote it, set by the store
	Principal  string          `json:"principal"`       // name of who did it
	Cause      string          `json:"cause,omitempty"` // id of the fact it follows from
	Body       json.RawMessage `json:"body"`
	Prev       string          `json:"prev"` // hash of the subject's previous fact, empty for the first
	Hash       string          `json:"hash"`
}

// SystemSubject is the subject of facts about Fettle itself.
const SystemSubject = "system"

// FactBody is the typed content of a fact.
type FactBody interface{ FactKind() FactKind }

// NewFact makes a fact about subject. The store fills in Seq, ID, RecordedAt,
// Prev and Hash when it is told.
func NewFact(subject string, at time.Time, by Principal, cause string, body FactBody) Fact {
	b, err := json.Marshal(body)
	if err != nil {
		panic(fmt.Sprintf("ops: fact body %s does not marshal: %v", body.FactKind(), err))
	}
	return Fact{Subject: subject, Kind: body.FactKind(), Version: 1, At: at.UTC(), Principal: by.Name, Cause: cause, Body: b}
}

// Body decodes the typed content of f. Asking for another kind than f has is
// a defect and gives ErrInternal.
func Body[T FactBody](f Fact) (T, error) {
	var body T
	if f.Kind != body.FactKind() {
		return body, fmt.Errorf("fact %s is %s, not %s: %w", f.ID, f.Kind, body.FactKind(), ErrInternal)
	}
	if err := json.Unmarshal(f.Body, &body); err != nil {
		return body, fmt.Errorf("fact %s (%s): %w: %w", f.ID, f.Kind, err, ErrInternal)
	}
	return body, nil
}

// ComputeHash returns the SHA-256, in hex, over every field of the fact except
// Hash itself, each written with its length, so that no two facts share an
// encoding.
func (f Fact) ComputeHash() string {
	h := sha256.New()
	var n [8]byte
	num := func(v int64) {
		binary.BigEndian.PutUint64(n[:], uint64(v))
		h.Write(n[:])
	}
	str := func(s string) {
		num(int64(len(s)))
		h.Write([]byte(s))
	}
	num(f.Seq)
	str(f.ID)
	str(f.Subject)
	str(string(f.Kind))
	num(int64(f.Version))
	num(f.At.UnixMilli())
	num(f.RecordedAt.UnixMilli())
	str(f.Principal)
	str(f.Cause)
	str(string(f.Body))
	str(f.Prev)
	return hex.EncodeToString(h.Sum(nil))
}
