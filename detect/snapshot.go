package detect

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/fettleops/fettle/internal/failpoint"
)

// A snapshot is one model in a file of its own, replaced as a whole: a packed
// file would have to be rewritten for each model in it, and 10,000 files in 256
// folders are nothing to a file system.
//
// The form: the magic with its version, the fields in the order of snapshot,
// numbers as varints and texts with their length, and the CRC-32C of all of
// it.
const snapshotMagic = "fettle model\x01"

// snapshotSuffix ends the name of a snapshot, brokenSuffix that of one that
// could not be read and was set aside.
const (
	snapshotSuffix = ".model"
	brokenSuffix   = ".broken"
	tempSuffix     = ".tmp"
)

// snapshot is a model as it stands after a record of the log.
type snapshot struct {
	digest    string // of what the model is made of
	first     int64  // offset of the entity's first record
	contained int64  // records up to here are in it
	heard     int64  // tick at which the entity was last heard
	learned   int
	needed    int
	life      life
	history   history
	entity    []byte
	detector  []byte
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (s *snapshot) append(dst []byte) ([]byte, error) {
	open, err := json.Marshal(s.life)
	if err != nil {
		return nil, fmt.Errorf("detect: encode an anomaly: %w", err)
	}
	begin := len(dst)
	dst = append(dst, snapshotMagic...)
	dst = appendBytes(dst, []byte(s.digest))
	for _, v := range []int64{s.first, s.contained, s.heard, int64(s.learned), int64(s.needed)} {
		dst = binary.AppendVarint(dst, v)
	}
	dst = appendBytes(dst, open)
	dst = s.history.append(dst)
	dst = appendBytes(dst, s.entity)
	dst = appendBytes(dst, s.detector)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[begin:], castagnoli)), nil
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// errBroken says that a snapshot is not as it was written.
var errBroken = errors.New("detect: a broken snapshot")

// parseSnapshot reads a snapshot; what it returns points into body.
func parseSnapshot(body []byte) (*snapshot, error) {
	n := len(body) - 4
	if n < len(snapshotMagic) || string(body[:len(snapshotMagic)]) != snapshotMagic {
		return nil, fmt.Errorf("%w: no snapshot of this version", errBroken)
	}
	if crc32.Checksum(body[:n], castagnoli) != binary.LittleEndian.Uint32(body[n:]) {
		return nil, fmt.Errorf("%w: wrong checksum over %d bytes", errBroken, n)
	}
	d := decoder{rest: body[len(snapshotMagic):n]}
	s := &snapshot{digest: string(d.bytes())}
	s.first, s.contained, s.heard = d.varint(), d.varint(), d.varint()
	s.learned, s.needed = int(d.varint()), int(d.varint())
	open := d.bytes()
	s.history.decode(&d)
	s.entity, s.detector = d.bytes(), d.bytes()
	if d.bad || len(d.rest) != 0 {
		return nil, fmt.Errorf("%w: fields do not fill it", errBroken)
	}
	if err := json.Unmarshal(open, &s.life); err != nil {
		return nil, fmt.Errorf("%w: %w", errBroken, err)
	}
	return s, nil
}

// decoder reads fields and remembers whether one was not there.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.rest)
	if n <= 0 {
		d.bad, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) bytes() []byte {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 || n > uint64(len(d.rest)-size) {
		d.bad, d.rest = true, nil
		return nil
	}
	out := d.rest[size : size+int(n)]
	d.rest = d.rest[size+int(n):]
	return out
}

// count reads a number of things of which each takes at least size bytes.
func (d *decoder) count(size int) int {
	n := d.varint()
	if n < 0 || n > int64(len(d.rest)/size) {
		d.bad, d.rest = true, nil
		return 0
	}
	return int(n)
}

func (h *history) append(dst []byte) []byte {
	dst = binary.AppendVarint(dst, int64(h.dims))
	dst = binary.AppendVarint(dst, int64(len(h.at)))
	var before int64
	for i := range h.at {
		at := h.at[(h.next+i)%len(h.at)]
		dst = binary.AppendVarint(dst, at-before)
		before = at
	}
	for i := range h.at {
		j := (h.next + i) % len(h.at)
		for _, v := range h.data[j*h.width : (j+1)*h.width] {
			dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(v))
		}
	}
	dst = binary.AppendVarint(dst, h.hour.start)
	dst = binary.AppendVarint(dst, int64(len(h.hour.at)))
	for _, at := range h.hour.at {
		dst = binary.AppendVarint(dst, at-h.hour.start)
	}
	for i := range h.hour.counts {
		dst = binary.AppendUvarint(dst, uint64(h.hour.counts[i]))
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(h.hour.data[i]))
	}
	return dst
}

// maxDims bounds the features a snapshot may claim, so that a damaged one
// cannot ask for memory.
const maxDims = 1024

func (h *history) decode(d *decoder) {
	dims := d.varint()
	if dims < 0 || dims > maxDims {
		d.bad, d.rest = true, nil
		return
	}
	*h = newHistory(int(dims))
	n := d.count(1 + 4*h.width)
	if n > h.rows {
		d.bad = true
		return
	}
	var at int64
	for range n {
		at += d.varint()
		h.at = append(h.at, at)
	}
	if len(d.rest) < 4*n*h.width {
		d.bad = true
		return
	}
	h.data = make([]float32, n*h.width)
	for i := range h.data {
		h.data[i] = math.Float32frombits(binary.LittleEndian.Uint32(d.rest[4*i:]))
	}
	d.rest = d.rest[4*len(h.data):]
	h.hour.start = d.varint()
	buckets := d.count(1 + 9*h.width)
	for range buckets {
		h.hour.at = append(h.hour.at, h.hour.start+d.varint())
	}
	for range buckets * h.width {
		c, size := binary.Uvarint(d.rest)
		if size <= 0 || len(d.rest) < size+8 {
			d.bad, d.rest = true, nil
			return
		}
		h.hour.counts = append(h.hour.counts, uint32(c))
		h.hour.data = append(h.hour.data, math.Float64frombits(binary.LittleEndian.Uint64(d.rest[size:])))
		d.rest = d.rest[size+8:]
	}
}

// modelDir is the folder of the snapshots.
type modelDir string

func (d modelDir) folder(id string) string { return filepath.Join(string(d), id[:2]) }
func (d modelDir) path(id string) string   { return filepath.Join(d.folder(id), id+snapshotSuffix) }

// read returns the snapshot of an id, or an error of fs.ErrNotExist.
func (d modelDir) read(id string) (*snapshot, error) {
	body, err := os.ReadFile(d.path(id))
	if err != nil {
		return nil, err
	}
	return parseSnapshot(body)
}

// write replaces the snapshot of an id. After a crash the old one or the new
// one is there; the new one for certain once sync has returned.
func (d modelDir) write(id string, body []byte) (err error) {
	if err := os.MkdirAll(d.folder(id), 0o700); err != nil {
		return fmt.Errorf("detect: make the folder of a model: %w", err)
	}
	temp := d.path(id) + tempSuffix
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("detect: write a model: %w", err)
	}
	_, err = f.Write(body)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("detect: write a model: %w", err)
	}
	failpoint.Hit("snapshot.before:detect.modelDir.write")
	if err := os.Rename(temp, d.path(id)); err != nil {
		return fmt.Errorf("detect: replace a model: %w", err)
	}
	failpoint.Hit("snapshot.after:detect.modelDir.write")
	return nil
}

// sync makes the snapshots of ids that were written last.
func (d modelDir) sync(ids []string) error {
	if runtime.GOOS == "windows" {
		return nil // folders cannot be synced there; a rename is journalled
	}
	folders := map[string]bool{string(d): true}
	for _, id := range ids {
		folders[d.folder(id)] = true
	}
	for path := range folders {
		f, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("detect: sync the folder of models: %w", err)
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return fmt.Errorf("detect: sync the folder of models: %w", err)
		}
	}
	return nil
}

// setAside keeps a snapshot that cannot be read for whoever wants to know why.
func (d modelDir) setAside(id string) error {
	return os.Rename(d.path(id), d.path(id)+brokenSuffix)
}

// remove deletes the snapshot of an id, if there is one.
func (d modelDir) remove(id string) error {
	if err := os.Remove(d.path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("detect: remove a model: %w", err)
	}
	return nil
}

// sweep removes the snapshots that keep does not want, and what a crash left
// half written. It returns how many snapshots went.
func (d modelDir) sweep(keep func(id string) bool) (removed int, err error) {
	err = filepath.WalkDir(string(d), func(path string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case e.IsDir():
			return nil
		}
		id, model := strings.CutSuffix(e.Name(), snapshotSuffix)
		if strings.HasSuffix(e.Name(), tempSuffix) {
			return os.Remove(path)
		}
		if model && !keep(id) {
			removed++
			return os.Remove(path)
		}
		return nil
	})
	if err != nil {
		return removed, fmt.Errorf("detect: look through the models: %w", err)
	}
	return removed, nil
}
