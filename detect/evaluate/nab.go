package evaluate

import (
	"math"
	"slices"
)

// NAB is the score of the Numenta Anomaly Benchmark (Lavin and Ahmad,
// "Evaluating Real-Time Anomaly Detection Algorithms", ICMLA 2015; the rules
// are those of github.com/numenta/NAB 1.1):
//
//   - The first 15 % of a series, at most 750 rows, are probation: what is said
//     of them does not count.
//   - A row is an alarm when its score is at least the threshold, which is one
//     for all series.
//   - The best alarm in a window earns by its place: all of the profile's TP at
//     the window's first row, falling to 0 at its end. A window without an
//     alarm costs FN.
//   - An alarm outside costs FP times a factor that grows from 0 just behind a
//     window to 1 at three widths and is 1 before the first window.
//   - 0 is the score of a detector that never alarms, 100 that of one that
//     alarms at the first row of each window and nowhere else.
//
// A NAB is immutable and safe for concurrent use.
type NAB struct {
	set     *Set
	rows    []nabRow
	windows []nabWindow
	first   []int    // of the windows, for each series
	names   []string // categories, ordered
}

// nabRow is what an alarm at a row counts, before weights.
type nabRow struct {
	window   int32 // index in windows; outside: none
	category int16
	counts   bool    // false in probation
	worth    float64 // in a window in (0,1], outside in [-1,0]
}

const outside = -1

type nabWindow struct {
	category int16
	counts   bool // false when all of it lies in probation
}

// NewNAB prepares the score of a set with cost profiles.
func NewNAB(set *Set) *NAB {
	n := &NAB{set: set, rows: make([]nabRow, 0, set.Rows())}
	for _, s := range set.Series {
		if !slices.Contains(n.names, s.Category) {
			n.names = append(n.names, s.Category)
		}
	}
	slices.Sort(n.names)
	for _, s := range set.Series {
		n.first = append(n.first, len(n.windows))
		n.add(s)
	}
	return n
}

func (n *NAB) add(s Series) {
	category := int16(slices.Index(n.names, s.Category))
	probation := Probation(len(s.Values))
	var previous *Window
	windows := s.Windows
	for i := range s.Values {
		for len(windows) > 0 && i > windows[0].Last {
			previous, windows = &windows[0], windows[1:]
		}
		r := nabRow{window: outside, category: category, counts: i >= probation}
		switch {
		case len(windows) > 0 && i >= windows[0].First:
			w := windows[0]
			if i == w.First {
				n.windows = append(n.windows, nabWindow{category: category, counts: w.Last >= probation})
			}
			r.window = int32(len(n.windows) - 1)
			r.worth = sigmoid(-float64(w.Last-i+1)/float64(w.Len())) / sigmoid(-1)
		case previous == nil:
			r.worth = -1
		default:
			r.worth = sigmoid(float64(i-previous.Last) / float64(previous.Len()-1))
		}
		n.rows = append(n.rows, r)
	}
}

// Probation is the number of leading rows of a series that NAB does not count.
func Probation(rows int) int {
	return min(int(0.15*float64(rows)), 750)
}

// sigmoid falls from almost 1 at -1 through 0 at 0 to -1; beyond 3 it is -1.
func sigmoid(x float64) float64 {
	if x > 3 {
		return -1
	}
	return 2/(1+math.Exp(5*x)) - 1
}

// NABScore is a detector's score under one profile.
type NABScore struct {
	// Score is normalised: 0 for never an alarm, 100 for perfect.
	Score float64
	// Threshold is the score from which a row is an alarm; +Inf: none is.
	Threshold float64
}

// Best is the score at the threshold that scores best on these very labels, as
// NAB reports it: an in-sample figure. Of equal thresholds it is the highest.
func (n *NAB) Best(r *Ranking, p Profile) NABScore {
	whole := n.sweep(r, p, []int16{none})[0]
	return NABScore{Score: n.normalise(p, whole.best), Threshold: whole.threshold}
}

// At is the score at a given threshold.
func (n *NAB) At(r *Ranking, p Profile, threshold float64) NABScore {
	sum := 0.0
	for _, s := range n.BySeries(r, p, threshold) {
		sum += s
	}
	return NABScore{Score: n.normalise(p, sum), Threshold: threshold}
}

// LeaveOneCategoryOut scores the series of each category at the threshold that
// is best on all other categories. The raw scores of the categories are added
// and the sum is normalised as that of the whole set, so that each window
// counts once, at a threshold its category had no part in. A threshold is the
// score of a row of the other categories, or +Inf where they are best served
// by silence; with a single category it is always +Inf.
func (n *NAB) LeaveOneCategoryOut(r *Ranking, p Profile) float64 {
	each := make([]int16, len(n.names))
	for c := range each {
		each[c] = int16(c)
	}
	sum := 0.0
	for c, without := range n.sweep(r, p, each) {
		for i := range n.set.Series {
			if n.set.Series[i].Category == n.names[c] {
				sum += total(n.ofSeries(i, r, p, without.threshold))
			}
		}
	}
	return n.normalise(p, sum)
}

// BySeries is the raw score of each series at a threshold, before
// normalisation.
func (n *NAB) BySeries(r *Ranking, p Profile, threshold float64) []float64 {
	out := make([]float64, len(n.set.Series))
	for i := range out {
		out[i] = total(n.ofSeries(i, r, p, threshold))
	}
	return out
}

func total(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum
}

// ByRow is the part each row has in the raw score at a threshold, as the
// columns S(t) of NAB's result files: a false alarm's cost at its row, what a
// window earned or cost at the window's first row.
func (n *NAB) ByRow(r *Ranking, p Profile, threshold float64) [][]float64 {
	out := make([][]float64, len(n.set.Series))
	for i := range out {
		out[i] = n.ofSeries(i, r, p, threshold)
	}
	return out
}

// ofSeries is ByRow of one series.
func (n *NAB) ofSeries(i int, r *Ranking, p Profile, threshold float64) []float64 {
	s, from := &n.set.Series[i], r.offsets[i]
	out, best := make([]float64, len(s.Values)), make([]float64, len(s.Windows))
	for w := range best {
		best[w] = -p.FN
	}
	for k, score := range r.of(i) {
		switch row := &n.rows[from+k]; {
		case !row.counts || !(score >= threshold):
		case row.window == outside:
			out[k] = p.FP * row.worth
		default:
			w := int(row.window) - n.first[i]
			best[w] = max(best[w], p.TP*row.worth)
		}
	}
	for w, window := range s.Windows {
		if n.windows[n.first[i]+w].counts {
			out[window.First] = best[w]
		}
	}
	return out
}

// none is no category.
const none = -1

// search is where a sweep over all categories but one stands.
type search struct {
	without         int16 // the category, or none
	sum             float64
	last            float64 // the score of the row before; NaN: no row yet
	best, threshold float64
}

// sweep lowers the threshold over all rows and finds the best raw score, with
// its threshold, of all categories but each of those given. It is one pass:
// rows in the order of their scores are all over the memory.
func (n *NAB) sweep(r *Ranking, p Profile, without []int16) []search {
	out := make([]search, len(without))
	for k := range out {
		out[k] = search{without: without[k], last: math.NaN()}
	}
	found := make([]float64, len(n.windows))
	for i, w := range n.windows {
		if !w.counts {
			continue
		}
		found[i] = -p.FN
		for k := range out {
			if out[k].without != w.category {
				out[k].sum -= p.FN
			}
		}
	}
	for k := range out {
		out[k].best, out[k].threshold = out[k].sum, math.Inf(1)
	}
	for _, i := range r.order {
		row := &n.rows[i]
		if !row.counts {
			continue
		}
		more := 0.0
		if row.window == outside {
			more = p.FP * row.worth
		} else if earned := p.TP * row.worth; earned > found[row.window] {
			more = earned - found[row.window]
			found[row.window] = earned
		}
		score := r.scores[i]
		for k := range out {
			s := &out[k]
			if s.without == row.category {
				continue
			}
			if score != s.last {
				s.settle()
				s.last = score
			}
			s.sum += more
		}
	}
	for k := range out {
		out[k].settle()
	}
	return out
}

// settle takes the sum at the score of the row before, if none was better.
func (s *search) settle() {
	if s.sum > s.best {
		s.best, s.threshold = s.sum, s.last
	}
}

// normalise maps the score of silence to 0 and that of every window found at
// its first row to 100. As in NAB a window inside probation, which nobody can
// find, counts among the latter.
func (n *NAB) normalise(p Profile, sum float64) float64 {
	silence := 0.0
	for _, w := range n.windows {
		if w.counts {
			silence -= p.FN
		}
	}
	perfect := float64(len(n.windows)) * p.TP
	if perfect == silence {
		return 0 // no window: there is nothing to find
	}
	return 100 * (sum - silence) / (perfect - silence)
}
