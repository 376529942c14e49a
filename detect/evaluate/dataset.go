package evaluate

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Series is one labelled series.
type Series struct {
	// Name is the file's path below the set's data, with slashes.
	Name string
	// Category is the first folder of Name; empty for a file in no folder.
	Category string
	// At has the rows' times as the file gives them, Unix milliseconds, read
	// as UTC where the file names no zone.
	At []int64
	// Values has one value a row; NaN where the file has none.
	Values []float64
	// Windows are the stretches labelled anomalous, in order, without overlap.
	Windows []Window
	// Labels says of each row whether it lies in a window.
	Labels []bool
}

// Window is a stretch of rows, both ends included.
type Window struct{ First, Last int }

// Len is the number of rows in the window.
func (w Window) Len() int { return w.Last - w.First + 1 }

// Profile is a cost profile of NAB: what a found window earns, and what a
// missed one and a false alarm cost.
type Profile struct {
	Name       string
	TP, FN, FP float64
}

// Set is a folder of labelled series.
type Set struct {
	// Series are ordered by name.
	Series []Series
	// Profiles are NAB's cost profiles, in the order of the file; nil for a
	// set with point labels, which has no NAB score.
	Profiles []Profile
}

// Rows is the number of rows of all series.
func (s *Set) Rows() int {
	n := 0
	for i := range s.Series {
		n += len(s.Series[i].Values)
	}
	return n
}

// ReadNAB reads a folder laid out as the Numenta Anomaly Benchmark is: series
// (timestamp, value) below data/, labels/combined_windows.json and
// profiles.json. Each series must have an entry in the windows, which may be
// empty; windows of series that data/ does not hold are left out.
func ReadNAB(root fs.FS) (*Set, error) {
	profiles, err := readProfiles(root)
	if err != nil {
		return nil, err
	}
	const labels = "labels/combined_windows.json"
	b, err := fs.ReadFile(root, labels)
	if err != nil {
		return nil, fmt.Errorf("read the windows: %w", err)
	}
	var windows map[string][][2]string
	if err := json.Unmarshal(b, &windows); err != nil {
		return nil, fmt.Errorf("%s: %w", labels, err)
	}
	data, err := fs.Sub(root, "data")
	if err != nil {
		return nil, fmt.Errorf("read the series: %w", err)
	}
	set, err := readSeries(data, columns{"timestamp", "value", ""})
	if err != nil {
		return nil, err
	}
	set.Profiles = profiles
	for i := range set.Series {
		s := &set.Series[i]
		spans, ok := windows[s.Name]
		if !ok {
			return nil, fmt.Errorf("%s has no entry for %q (an empty list says that it has no anomaly)", labels, s.Name)
		}
		if err := s.mark(spans); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", labels, s.Name, err)
		}
	}
	return set, nil
}

// ReadPoints reads a folder of CSV files at any depth with the columns
// TimeStamp, Value and Label, where Label is 1 for an anomalous row and 0 or
// empty for any other.
func ReadPoints(root fs.FS) (*Set, error) {
	set, err := readSeries(root, columns{"timestamp", "value", "label"})
	if err != nil {
		return nil, err
	}
	for i := range set.Series {
		s := &set.Series[i]
		s.Windows = runs(s.Labels)
	}
	return set, nil
}

func readProfiles(root fs.FS) ([]Profile, error) {
	const name = "profiles.json"
	f, err := root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read the cost profiles: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	d := json.NewDecoder(f)
	if _, err := d.Token(); err != nil { // the opening brace
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var out []Profile
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		var p struct {
			CostMatrix struct{ TPWeight, FNWeight, FPWeight float64 }
		}
		if err := d.Decode(&p); err != nil {
			return nil, fmt.Errorf("%s: %v: %w", name, key, err)
		}
		c := p.CostMatrix
		if c.TPWeight <= 0 || c.FNWeight < 0 || c.FPWeight < 0 {
			return nil, fmt.Errorf("%s: %v: CostMatrix needs tpWeight > 0, fnWeight >= 0 and fpWeight >= 0, has %v, %v and %v", name, key, c.TPWeight, c.FNWeight, c.FPWeight)
		}
		out = append(out, Profile{Name: fmt.Sprint(key), TP: c.TPWeight, FN: c.FNWeight, FP: c.FPWeight})
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s holds no profile", name)
	}
	return out, nil
}

// columns names the columns of a file in lower case; no label: none is read.
type columns struct{ time, value, label string }

func readSeries(root fs.FS, c columns) (*Set, error) {
	set := &Set{}
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() || !strings.EqualFold(path.Ext(name), ".csv") {
			return nil
		}
		f, err := root.Open(name)
		if err != nil {
			return err
		}
		s, err := readCSV(f, c)
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		s.Name = name
		if folder, _, deep := strings.Cut(name, "/"); deep {
			s.Category = folder
		}
		set.Series = append(set.Series, s)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the series: %w", err)
	}
	if len(set.Series) == 0 {
		return nil, errors.New("read the series: no CSV file found")
	}
	slices.SortFunc(set.Series, func(a, b Series) int { return strings.Compare(a.Name, b.Name) })
	return set, nil
}

func readCSV(r io.Reader, c columns) (Series, error) {
	var s Series
	in := csv.NewReader(r)
	in.ReuseRecord = true
	in.FieldsPerRecord = -1 // a comma too many at the end of a row is harmless
	head, err := in.Read()
	if err != nil {
		return s, fmt.Errorf("heading: %w", err)
	}
	find := func(want string) int {
		return slices.IndexFunc(head, func(h string) bool {
			return strings.EqualFold(strings.TrimSpace(strings.TrimPrefix(h, "\ufeff")), want)
		})
	}
	at, value, label := find(c.time), find(c.value), -1
	if at < 0 || value < 0 {
		return s, fmt.Errorf("the heading %q needs the columns %s and %s", strings.Join(head, ","), c.time, c.value)
	}
	if c.label != "" {
		if label = find(c.label); label < 0 {
			return s, fmt.Errorf("the heading %q needs the column %s", strings.Join(head, ","), c.label)
		}
	}
	for {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return s, err
		}
		line, _ := in.FieldPos(0)
		if need := max(at, value, label); len(row) <= need {
			return s, fmt.Errorf("line %d has %d columns, %d are needed", line, len(row), need+1)
		}
		t, err := ParseTime(row[at])
		if err != nil {
			return s, fmt.Errorf("line %d: %w", line, err)
		}
		v, err := ParseValue(row[value])
		if err != nil {
			return s, fmt.Errorf("line %d: %w", line, err)
		}
		marked := false
		if label >= 0 {
			if marked, err = parseLabel(row[label]); err != nil {
				return s, fmt.Errorf("line %d: %w", line, err)
			}
		}
		s.At, s.Values, s.Labels = append(s.At, t.UnixMilli()), append(s.Values, v), append(s.Labels, marked)
	}
	if len(s.At) == 0 {
		return s, errors.New("holds no row")
	}
	return s, nil
}

// layouts are the forms of time that are read; fractions of a second are
// allowed in each.
var layouts = []string{
	time.DateTime, time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04", time.DateOnly,
	"2006/1/2 15:04:05", "2006/1/2 15:04", "1/2/2006 15:04:05", "1/2/2006 15:04",
}

// ParseTime reads a time as data sets write it: "2006-01-02 15:04:05" with or
// without T, zone and fraction, a date, with slashes as year/month/day or
// month/day/year, or Unix time in seconds, milliseconds,
// microseconds or nanoseconds, told apart by size. Without a zone it is UTC.
func ParseTime(s string) (time.Time, error) {
	s = strings.TrimSpace(s)
	for _, l := range layouts {
		if t, err := time.Parse(l, s); err == nil {
			return t.UTC(), nil
		}
	}
	if n, err := strconv.ParseFloat(s, 64); err == nil && n >= 0 && n < 1e19 {
		for _, unit := range []float64{1e3, 1, 1e-3, 1e-6} { // to milliseconds; 1e11 s is the year 5138
			if ms := n * unit; ms < 1e14 {
				return time.UnixMilli(int64(math.Round(ms))).UTC(), nil
			}
		}
	}
	return time.Time{}, fmt.Errorf("time %q is neither like 2006-01-02 15:04:05, with T, zone or fraction if need be, nor Unix time", s)
}

// ParseValue reads a number; empty, NaN and null are NaN, a missing value. An
// infinite one is an error.
func ParseValue(s string) (float64, error) {
	s = strings.TrimSpace(s)
	switch strings.ToLower(s) {
	case "", "nan", "null":
		return math.NaN(), nil
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(v, 0) {
		return 0, fmt.Errorf("value %q is not a finite number (leave it empty where it is missing)", s)
	}
	return v, nil
}

func parseLabel(s string) (bool, error) {
	switch strings.TrimSpace(s) {
	case "0", "0.0", "":
		return false, nil
	case "1", "1.0":
		return true, nil
	}
	return false, fmt.Errorf("label %q is neither 0 nor 1", s)
}

// mark turns spans of time into windows. As in NAB a window's ends are the
// first rows with exactly these times; where a file has none, its window holds
// the rows between. Where windows overlap, the earlier one keeps the rows.
func (s *Series) mark(spans [][2]string) error {
	for _, span := range spans {
		var ends [2]int64
		for i, text := range span {
			t, err := ParseTime(text)
			if err != nil {
				return err
			}
			ends[i] = t.UnixMilli()
		}
		w := Window{slices.Index(s.At, ends[0]), slices.Index(s.At, ends[1])}
		if w.First < 0 {
			w.First = slices.IndexFunc(s.At, func(t int64) bool { return t >= ends[0] })
		}
		if w.Last < 0 {
			w.Last = len(s.At) - 1
			for w.Last >= 0 && s.At[w.Last] > ends[1] {
				w.Last--
			}
		}
		if w.First < 0 || w.Last < w.First {
			return fmt.Errorf("no row lies in the window %s to %s", span[0], span[1])
		}
		s.Windows = append(s.Windows, w)
	}
	slices.SortFunc(s.Windows, func(a, b Window) int { return a.First - b.First })
	for i := range s.Windows {
		w := &s.Windows[i]
		if i > 0 {
			w.First = max(w.First, s.Windows[i-1].Last+1)
		}
		if w.Len() < 1 {
			return fmt.Errorf("the window that ends at row %d lies within the one before it", w.Last)
		}
		for row := w.First; row <= w.Last; row++ {
			s.Labels[row] = true
		}
	}
	return nil
}

// runs are the stretches of labelled rows.
func runs(labels []bool) []Window {
	var out []Window
	for i, l := range labels {
		switch {
		case !l:
		case i > 0 && labels[i-1]:
			out[len(out)-1].Last = i
		default:
			out = append(out, Window{i, i})
		}
	}
	return out
}
