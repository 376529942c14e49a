package detect

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/fettleops/fettle/detect/kernel/detector"
	"github.com/fettleops/fettle/ops"
)

// watched is an entity that has a model, in memory or on disk. Who may touch
// what: the reader its part while it reads ahead; the shard its part while it
// holds its lock; the pipeline everything else, and all but the reader's part
// between rounds.
type watched struct {
	id      string
	group   *Group
	entity  string
	alias   string // of the resource
	shard   int
	first   int64 // offset of the first record
	tier    detector.Tier
	seed    uint64
	phase   int64 // where its hours begin, so that not all end at once
	bucket  int64
	digest  string
	silence int64 // milliseconds of ticks

	// The reader's.
	heard int64 // tick at the last record
	round int64 // that touched it last
	gone  bool  // forgotten

	// The shard's, under its lock.
	model           *model
	broken          bool  // no model can be made; said once
	contained       int64 // records up to here are in the snapshot
	since           int64 // first record after it that the model holds, 0 none
	used            int64 // the round that needed the model last
	learned, needed int
	seenAt          int64
	openID          string

	// The pipeline's.
	writing int64 // since, of the snapshot on its way to the disk
	due     time.Time
}

// model is a resident model.
type model struct {
	entity   Entity
	detector detector.Detector
	life     life
	history  history
	heard    int64 // tick at which the entity was last heard, 0 unknown
}

// watchedID names an entity of a group, as in /series/<id>.
func watchedID(group, entity string) (id string, sum [32]byte) {
	h := sha256.New()
	for _, s := range []string{group, entity} {
		h.Write(binary.AppendUvarint(nil, uint64(len(s))))
		h.Write([]byte(s))
	}
	h.Sum(sum[:0])
	return hex.EncodeToString(sum[:12]), sum
}

func newWatched(g *Group, entity, installation string, tier detector.Tier, first int64, shards int) *watched {
	id, sum := watchedID(g.Name, entity)
	w := &watched{
		id: id, group: g, entity: entity, alias: aliasOf(entity), first: first, tier: tier, bucket: bucketOf(g.step()), silence: silence(g.step()),
		seed: binary.LittleEndian.Uint64(sum[16:]) ^ g.Settings.Seed,
	}
	spread := binary.LittleEndian.Uint64(sum[24:])
	w.shard = int(spread % uint64(shards))
	w.phase = floor(int64(spread>>16%uint64(hourMillis)), w.bucket)
	w.digest = fmt.Sprintf("%s|%s|%s|%+v", installation, g.Detector, g.Digest, w.settings())
	return w
}

func (w *watched) settings() detector.Settings {
	s := w.group.Settings
	s.Seed = w.seed
	s.Features, s.Tier = len(w.group.Features), w.tier
	return s
}

// dirtyFrom is the first record that no snapshot on disk holds, 0 when all is
// there.
func (w *watched) dirtyFrom() int64 {
	if w.writing > 0 {
		return w.writing
	}
	return w.since
}

// row is what the store keeps.
func (w *watched) row() ops.Watched {
	out := ops.Watched{ID: w.id, Group: w.group.Name, Entity: w.entity, Detector: w.group.Detector, Tier: string(w.tier), First: w.first, Learned: w.learned, Needed: w.needed, Anomaly: w.openID}
	if w.seenAt != 0 {
		out.SeenAt = time.UnixMilli(w.seenAt).UTC()
	}
	return out
}

// index finds what is watched. The reader alone changes it; everybody may look.
type index struct {
	mu     sync.RWMutex
	byName map[name]*watched
	byID   map[string]*watched
	counts map[string]int // by group
}

type name struct{ group, entity string }

func newIndex() *index {
	return &index{byName: map[name]*watched{}, byID: map[string]*watched{}, counts: map[string]int{}}
}

func (x *index) add(w *watched) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.byName[name{w.group.Name, w.entity}], x.byID[w.id] = w, w
	x.counts[w.group.Name]++
}

func (x *index) remove(w *watched) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.byName, name{w.group.Name, w.entity})
	delete(x.byID, w.id)
	x.counts[w.group.Name]--
}

func (x *index) get(id string) *watched {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.byID[id]
}

// list returns everything watched, in no order.
func (x *index) list() []*watched {
	x.mu.RLock()
	defer x.mu.RUnlock()
	out := make([]*watched, 0, len(x.byID))
	for _, w := range x.byID {
		out = append(out, w)
	}
	return out
}

// all returns everything watched, by group and entity.
func (x *index) all() []*watched {
	out := x.list()
	slices.SortFunc(out, func(a, b *watched) int {
		if a.group.Name != b.group.Name {
			return cmp.Compare(a.group.Name, b.group.Name)
		}
		return cmp.Compare(a.entity, b.entity)
	})
	return out
}
