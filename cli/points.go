package cli

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fettleops/fettle/detect/evaluate"
)

// pointFile reads the points of a CSV file row by row.
type pointFile struct {
	in       *csv.Reader
	features []string // names of the values
	time     int      // columns
	values   []int
	first    []string // the first row of points, read to tell the columns apart
	line     int      // of first
}

// pointRow is one row. The error, if any, is the reader's last word.
type pointRow struct {
	line   int
	at     time.Time
	values []float64
	err    error
}

// openPoints reads the heading and the first row. The columns named by the
// user must exist; without names they are found as fettle detect --help says.
func openPoints(r io.Reader, timeColumn string, valueColumns []string) (*pointFile, error) {
	f := &pointFile{in: csv.NewReader(r)}
	head, err := f.in.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("holds no row")
	}
	if err != nil {
		return nil, err
	}
	head[0] = strings.TrimPrefix(head[0], "\ufeff")
	names := make([]string, len(head))
	if bare := !slices.ContainsFunc(head, func(s string) bool { return !isTime(s) && !isValue(s) }); bare {
		f.first, f.line = head, 1
		for i := range names {
			names[i] = strconv.Itoa(i + 1)
		}
	} else {
		for i, h := range head {
			names[i] = strings.TrimSpace(h)
		}
		if f.first, err = f.in.Read(); err != nil {
			if errors.Is(err, io.EOF) {
				return nil, errors.New("holds no row but the heading")
			}
			return nil, err
		}
		f.line, _ = f.in.FieldPos(0)
	}
	if f.time, err = timeAmong(names, timeColumn, f.line == 1); err != nil {
		return nil, err
	}
	if f.values, err = valuesAmong(names, valueColumns, f.first, f.time); err != nil {
		return nil, err
	}
	for _, i := range f.values {
		f.features = append(f.features, names[i])
	}
	return f, nil
}

func isTime(s string) bool  { _, err := evaluate.ParseTime(s); return err == nil }
func isValue(s string) bool { _, err := evaluate.ParseValue(s); return err == nil }

func timeAmong(names []string, wanted string, bare bool) (int, error) {
	find := func(name string) int {
		return slices.IndexFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
	}
	if wanted != "" {
		if i := find(wanted); i >= 0 {
			return i, nil
		}
		return 0, usageError{fmt.Errorf("--time-column %q is none of the columns %s", wanted, strings.Join(names, ", "))}
	}
	if bare {
		return 0, nil
	}
	for _, usual := range []string{"timestamp", "time", "date", "datetime", "ts"} {
		if i := find(usual); i >= 0 {
			return i, nil
		}
	}
	return 0, usageError{fmt.Errorf("no time column among %s: name it with --time-column", strings.Join(names, ", "))}
}

func valuesAmong(names, wanted, first []string, at int) ([]int, error) {
	var out []int
	for _, w := range wanted {
		i := slices.IndexFunc(names, func(n string) bool { return strings.EqualFold(n, strings.TrimSpace(w)) })
		if i < 0 || i == at || slices.Contains(out, i) {
			return nil, usageError{fmt.Errorf("--value-columns: %q is none of the columns %s, or the time, or named twice", w, strings.Join(names, ", "))}
		}
		out = append(out, i)
	}
	if len(wanted) == 0 {
		for i, n := range names {
			if i != at && !strings.EqualFold(n, "label") && isValue(first[i]) {
				out = append(out, i)
			}
		}
	}
	if len(out) == 0 {
		return nil, usageError{fmt.Errorf("no column with numbers among %s: name them with --value-columns", strings.Join(names, ", "))}
	}
	return out, nil
}

// next returns the next row, or io.EOF behind the last.
func (f *pointFile) next() (pointRow, error) {
	row, line := f.first, f.line
	if f.first = nil; row == nil {
		var err error
		if row, err = f.in.Read(); err != nil {
			return pointRow{}, err
		}
		line, _ = f.in.FieldPos(0)
	}
	out := pointRow{line: line, values: make([]float64, len(f.values))}
	var err error
	if out.at, err = evaluate.ParseTime(row[f.time]); err != nil {
		return out, fmt.Errorf("line %d: %w", line, err)
	}
	for k, i := range f.values {
		if out.values[k], err = evaluate.ParseValue(row[i]); err != nil {
			return out, fmt.Errorf("line %d: column %s: %w", line, f.features[k], err)
		}
	}
	return out, nil
}
