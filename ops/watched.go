package ops

import (
	"encoding/base64"
	"fmt"
	"strings"
	"time"
)

// WatchedState is what can be said of a watched entity.
type WatchedState string

// The states of a watched entity.
const (
	// WatchedLearning entities are scored, and not graded yet.
	WatchedLearning WatchedState = "learning"
	// WatchedNormal entities are as expected.
	WatchedNormal WatchedState = "normal"
	// WatchedAnomalous entities have an open anomaly.
	WatchedAnomalous WatchedState = "anomalous"
)

// ParseWatchedState returns the state named s.
func ParseWatchedState(s string) (WatchedState, error) {
	switch w := WatchedState(s); w {
	case WatchedLearning, WatchedNormal, WatchedAnomalous:
		return w, nil
	}
	return "", fmt.Errorf("series state %q is none of learning, normal, anomalous: %w", s, ErrInvalid)
}

// Watched is an entity that a group of features watches, with a model of its
// own; its page is /series/<id>.
type Watched struct {
	ID       string `json:"id"` // derived from group and entity
	Group    string `json:"group"`
	Entity   string `json:"entity"`
	Detector string `json:"detector"`
	// Learned and Needed are points: "learning, 41 of 128 points".
	Learned int `json:"learned"`
	Needed  int `json:"needed"`
	// SeenAt is the start of the newest step; zero before the first.
	SeenAt time.Time `json:"seen_at,omitzero"`
	// Anomaly is the id of the open anomaly, empty when there is none.
	Anomaly string `json:"anomaly,omitempty"`
	// Tier is the size of its model, decided when it was first seen.
	Tier string `json:"tier,omitempty"`
	// Held is why its points are scored and not learned now; empty while they
	// are learned.
	Held []LearningHold `json:"held,omitempty" doc:"why its points are scored and not learned now; absent while they are learned"`
	// First is the offset of its first record in the sample log.
	First int64 `json:"-"`
}

// LearningHold is a reason not to learn from what is measured: an open incident,
// a change that is carried out, maintenance.
type LearningHold struct {
	Why string `json:"why" doc:"for people: INC-42 is open"`
	// Key is the number of the incident or the change.
	Key  string    `json:"key,omitempty" doc:"number of the incident or the change; absent for maintenance"`
	From time.Time `json:"from"`
	// Until is when learning goes on at the latest.
	Until time.Time `json:"until" doc:"when learning goes on at the latest"`
}

// HeldWhy says for people why learning is held, "INC-42 is open"; it is empty
// while the entity is learned.
func (w Watched) HeldWhy() string {
	var why []string
	for _, h := range w.Held {
		why = append(why, h.Why)
	}
	return strings.Join(why, "; ")
}

// State says whether the entity is learned, and whether it is as expected.
func (w Watched) State() WatchedState {
	switch {
	case w.Anomaly != "":
		return WatchedAnomalous
	case w.Needed == 0 || w.Learned < w.Needed: // nothing is needed before the first point
		return WatchedLearning
	}
	return WatchedNormal
}

// Progress says the state for people: "learning, 41 of 128 points".
func (w Watched) Progress() string {
	switch w.State() {
	case WatchedAnomalous:
		return "anomaly open"
	case WatchedNormal:
		return "as expected"
	}
	if w.Needed == 0 {
		return "learning, no point yet"
	}
	return fmt.Sprintf("learning, %d of %d points", w.Learned, w.Needed)
}

// Cursor returns the place of the entity in a list, for WatchedFilter.After.
func (w Watched) Cursor() string {
	return base64.RawURLEncoding.EncodeToString([]byte(w.Group + "\x00" + w.Entity))
}

// ParseWatchedCursor reads back what Cursor wrote.
func ParseWatchedCursor(s string) (group, entity string, err error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	group, entity, ok := strings.Cut(string(b), "\x00")
	if err != nil || !ok {
		return "", "", fmt.Errorf("cursor %q is not one this server gave: %w", s, ErrInvalid)
	}
	return group, entity, nil
}

// DetectionPlace is how far detection has come in a partition of the sample
// log, and who may say so.
type DetectionPlace struct {
	// Epoch grows with every take-over: what an earlier owner does is refused.
	Epoch int64
	// Committed is the offset up to which everything that follows from the log
	// is in the store.
	Committed int64
	// ReplayFrom is the offset after which a restart reads: what is at or before
	// it is in the snapshots of the models.
	ReplayFrom int64
}

// DetectionNote is a record of the sample log that is not samples, kept for as
// long as a replay may need what was in force before it begins.
type DetectionNote struct {
	Offset int64
	// Until is when it stops to matter, Unix milliseconds; 0 is a note that the
	// next one of its kind replaces.
	Until int64
	Body  []byte
}

// ReadingChunk is an hour of what a detector said of an entity, compressed.
type ReadingChunk struct {
	Series string
	Start  time.Time
	Body   []byte
}

// Bootstrap is the learning of a group's models from a past that is kept
// elsewhere.
type Bootstrap struct {
	ID    string `json:"id"`
	Group string `json:"group"`
	// Source says where the past is, without credentials; who comes again with
	// the same source goes on where it was left.
	Source string `json:"source"`
	// Replace says that models which have learned enough learn anew.
	Replace bool `json:"replace"`
	// Covered is the time up to which the past was taken; zero before the first
	// part.
	Covered time.Time `json:"covered,omitzero"`
	// MovedAt is when the last part was taken.
	MovedAt time.Time `json:"moved_at"`
	// Samples is how many samples were taken.
	Samples int64 `json:"samples"`
	// Ended says that it is complete.
	Ended bool `json:"ended"`
	// Offset is that of its last record in the sample log.
	Offset int64 `json:"-"`
}
