package ops

import "time"

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
	// First is the offset of its first record in the sample log.
	First int64 `json:"-"`
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
