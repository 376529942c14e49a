package parameter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/internal/failpoint"
	"github.com/fettleops/fettle/internal/record"
	"github.com/fettleops/fettle/ops"
)

// Records is the embedded repository: a table in Fettle's own database, for
// resources no Parameter Store is configured for. Make it with NewRecords.
type Records struct {
	table record.Table
	clock clock.Clock
}

var _ Repository = (*Records)(nil)

// NewRecords returns the repository kept in table.
func NewRecords(table record.Table, now clock.Clock) *Records { return &Records{table, now} }

// versionsKept is how many versions of a key are remembered; as many as
// Parameter Store does.
const versionsKept = 100

// row is one key with its past, newest last.
type row struct {
	Kind     Kind      `json:"kind"`
	DataType string    `json:"data_type"`
	Versions []version `json:"versions"`
}

type version struct {
	Number int64     `json:"number"`
	Value  string    `json:"value"`
	Seal   string    `json:"seal"`
	Label  Label     `json:"label,omitempty"`
	Note   string    `json:"note,omitempty"`
	At     time.Time `json:"at"`
}

func (r row) parameter(key string, v version) Parameter {
	return Parameter{Key: key, Value: v.Value, Kind: r.Kind, DataType: r.DataType, Version: v.Number, Label: v.Label, Note: v.Note, At: v.At}
}

func (r row) newest() version {
	if len(r.Versions) == 0 {
		return version{}
	}
	return r.Versions[len(r.Versions)-1]
}

// read returns the row under key and the version of its record; both zero when
// there is none.
func (s *Records) read(ctx context.Context, key string) (row, int64, error) {
	rec, err := s.table.Get(ctx, key)
	if errors.Is(err, record.ErrMissing) {
		return row{}, 0, nil
	}
	if err != nil {
		return row{}, 0, fmt.Errorf("parameter %s: %w", key, err)
	}
	r, err := decode(rec)
	return r, rec.Version, err
}

func decode(rec record.Record) (row, error) {
	var r row
	if err := json.Unmarshal(rec.Value, &r); err != nil || len(r.Versions) == 0 {
		return row{}, fmt.Errorf("parameter %s: its record is unreadable: %w", rec.Key, ops.ErrInternal)
	}
	return r, nil
}

func (s *Records) write(ctx context.Context, key string, r row, seen int64) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("parameter %s: %w", key, err)
	}
	return s.edit(ctx, key, b, seen)
}

// edit writes or, without a value, deletes the record under key.
func (s *Records) edit(ctx context.Context, key string, value []byte, seen int64) error {
	failpoint.Hit("execute.parameter.record.before")
	err := s.table.Write(ctx, record.Edit{Key: key, Value: value, Version: seen})
	failpoint.Hit("execute.parameter.record.after")
	switch {
	case errors.Is(err, record.ErrMoved):
		return fmt.Errorf("parameter %s: somebody else wrote first: %w: %w", key, err, ops.ErrConflict)
	case err != nil:
		return fmt.Errorf("parameter %s: %w", key, err)
	}
	return nil
}

// Get implements Repository.
func (s *Records) Get(ctx context.Context, key string) (Parameter, error) {
	if err := CheckKey(key); err != nil {
		return Parameter{}, err
	}
	r, _, err := s.read(ctx, key)
	if err == nil && len(r.Versions) == 0 {
		err = missing(key)
	}
	if err != nil {
		return Parameter{}, err
	}
	return r.parameter(key, r.newest()), nil
}

func missing(key string) error { return fmt.Errorf("parameter %s: %w", key, ops.ErrNotFound) }

// List implements Repository.
func (s *Records) List(ctx context.Context, path string) ([]Parameter, error) {
	if err := CheckKey(path); err != nil {
		return nil, err
	}
	const page = 500
	var out []Parameter
	for after := ""; ; {
		recs, err := s.table.List(ctx, path+"/", after, page)
		if err != nil {
			return nil, fmt.Errorf("parameters below %s: %w", path, err)
		}
		for _, rec := range recs {
			r, err := decode(rec)
			if err != nil {
				return nil, err
			}
			p := r.parameter(rec.Key, r.newest())
			p.Label, p.Note = "", ""
			out = append(out, p)
			after = rec.Key
		}
		if len(recs) < page {
			return out, nil
		}
	}
}

// Put implements Repository.
func (s *Records) Put(ctx context.Context, e Edit) (Parameter, error) {
	if err := e.check(); err != nil {
		return Parameter{}, err
	}
	r, seen, err := s.read(ctx, e.Key)
	if err != nil {
		return Parameter{}, err
	}
	for _, v := range r.Versions {
		if v.Seal == seal(e.Token) {
			return r.parameter(e.Key, v), nil
		}
	}
	last := r.newest()
	if last.Number != e.Version {
		return Parameter{}, moved(e.Key, last.Number, e.Version)
	}
	if seen == 0 {
		r.Kind, r.DataType = e.kind(), e.dataType()
	}
	v := version{Number: last.Number + 1, Value: e.Value, Seal: seal(e.Token), Note: e.Note, At: s.clock().UTC().Truncate(time.Millisecond)}
	if v.Note == "" {
		v.Note = last.Note
	}
	r.Versions = append(r.Versions, v)
	r.Versions = r.Versions[max(0, len(r.Versions)-versionsKept):]
	if err := s.write(ctx, e.Key, r, seen); err != nil {
		return Parameter{}, err
	}
	return r.parameter(e.Key, v), nil
}

func (e Edit) kind() Kind {
	if e.Kind == "" {
		return String
	}
	return e.Kind
}

func (e Edit) dataType() string {
	if e.DataType == "" {
		return "text"
	}
	return e.DataType
}

// Mark implements Repository.
func (s *Records) Mark(ctx context.Context, key string, number int64, l Label) error {
	if !lifecycle(string(l)) {
		return unknownLabel(key, l)
	}
	r, seen, err := s.read(ctx, key)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(r.Versions, func(v version) bool { return v.Number == number })
	if i < 0 {
		return fmt.Errorf("parameter %s has no version %d: %w", key, number, ops.ErrNotFound)
	}
	if r.Versions[i].Label == l {
		return nil
	}
	for j := range r.Versions {
		if r.Versions[j].Label == l { // a label stands on one version of a key
			r.Versions[j].Label = ""
		}
	}
	r.Versions[i].Label = l
	return s.write(ctx, key, r, seen)
}

func unknownLabel(key string, l Label) error {
	var all []string
	for _, known := range Labels {
		all = append(all, string(known))
	}
	return fmt.Errorf("parameter %s: label %q is none of %s: %w", key, l, strings.Join(all, ", "), ops.ErrInvalid)
}

// Delete implements Repository.
func (s *Records) Delete(ctx context.Context, key string, number int64) error {
	r, seen, err := s.read(ctx, key)
	switch {
	case err != nil || seen == 0:
		return err
	case r.newest().Number != number:
		return moved(key, r.newest().Number, number)
	}
	return s.edit(ctx, key, nil, seen)
}
