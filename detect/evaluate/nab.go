package evaluate

import (
	"cmp"
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
	offsets []int // first row of each series in rows
	rows    []nabRow
	windows []nabWindow
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
	series   int
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
	for i, s := range set.Series {
		n.offsets = append(n.offsets, len(n.rows))
		n.add(i, s)
	}
	return n
}

func (n *NAB) add(series int, s Series) {
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
				n.windows = append(n.windows, nabWindow{series: series, category: category, counts: w.Last >= probation})
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

// Ranking orders the rows of a set by one detector's scores, so that
// thresholds can be tried without sorting again.
type Ranking struct {
	nab    *NAB
	scores []float64 // by row
	order  []int32   // rows that count, the highest score first
}

// Rank takes the scores of each series, in the set's order and of its length.
// A score that is NaN is never an alarm. It panics when a length is wrong.
func (n *NAB) Rank(scores [][]float64) *Ranking {
	r := &Ranking{nab: n, scores: make([]float64, 0, len(n.rows)), order: make([]int32, 0, len(n.rows))}
	for i, s := range n.set.Series {
		if len(scores[i]) != len(s.Values) {
			panic("evaluate: " + s.Name + " needs one score a row")
		}
		r.scores = append(r.scores, scores[i]...)
	}
	for i := range n.rows {
		if n.rows[i].counts && !math.IsNaN(r.scores[i]) {
			r.order = append(r.order, int32(i))
		}
	}
	slices.SortFunc(r.order, func(a, b int32) int {
		return cmp.Or(cmp.Compare(r.scores[b], r.scores[a]), cmp.Compare(a, b))
	})
	return r
}

// Best is the score at the threshold that scores best on these very labels, as
// NAB reports it: an in-sample figure. Of equal thresholds it is the highest.
func (r *Ranking) Best(p Profile) NABScore {
	sum, threshold := r.sweep(p, func(int16) bool { return true })
	return NABScore{Score: r.nab.normalise(p, sum), Threshold: threshold}
}

// At is the score at a given threshold.
func (r *Ranking) At(p Profile, threshold float64) NABScore {
	sum := 0.0
	for _, s := range r.BySeries(p, threshold) {
		sum += s
	}
	return NABScore{Score: r.nab.normalise(p, sum), Threshold: threshold}
}

// LeaveOneCategoryOut scores the series of each category at the threshold that
// is best on all other categories. The raw scores of the categories are added
// and the sum is normalised as that of the whole set, so that each window
// counts once, at a threshold its category had no part in. A threshold is the
// score of a row of the other categories, or +Inf where they are best served
// by silence; with a single category it is always +Inf.
func (r *Ranking) LeaveOneCategoryOut(p Profile) float64 {
	sum := 0.0
	for c := range r.nab.names {
		_, threshold := r.sweep(p, func(other int16) bool { return other != int16(c) })
		for i, s := range r.BySeries(p, threshold) {
			if r.nab.set.Series[i].Category == r.nab.names[c] {
				sum += s
			}
		}
	}
	return r.nab.normalise(p, sum)
}

// BySeries is the raw score of each series at a threshold, before
// normalisation.
func (r *Ranking) BySeries(p Profile, threshold float64) []float64 {
	out := make([]float64, len(r.nab.set.Series))
	rows := r.ByRow(p, threshold)
	for i := range out {
		for _, s := range rows[i] {
			out[i] += s
		}
	}
	return out
}

// ByRow is the part each row has in the raw score at a threshold, as the
// columns S(t) of NAB's result files: a false alarm's cost at its row, what a
// window earned or cost at the window's first row.
func (r *Ranking) ByRow(p Profile, threshold float64) [][]float64 {
	n := r.nab
	best := make([]float64, len(n.windows))
	for i := range best {
		best[i] = -p.FN
	}
	flat := make([]float64, len(n.rows))
	for i, row := range n.rows {
		switch alarm := row.counts && r.scores[i] >= threshold; {
		case !alarm:
		case row.window == outside:
			flat[i] = p.FP * row.worth
		default:
			best[row.window] = max(best[row.window], p.TP*row.worth)
		}
	}
	out := make([][]float64, len(n.offsets))
	w := 0
	for i, s := range n.set.Series {
		out[i] = flat[n.offsets[i]:][:len(s.Values)]
		for _, window := range s.Windows {
			if n.windows[w].counts {
				out[i][window.First] = best[w]
			}
			w++
		}
	}
	return out
}

// sweep lowers the threshold over all rows of the chosen categories and
// returns the best raw score with its threshold.
func (r *Ranking) sweep(p Profile, chosen func(category int16) bool) (best, threshold float64) {
	n := r.nab
	use := make([]bool, len(n.names))
	for c := range use {
		use[c] = chosen(int16(c))
	}
	found := make([]float64, len(n.windows))
	sum := 0.0
	for i, w := range n.windows {
		if w.counts && use[w.category] {
			found[i] = -p.FN
			sum -= p.FN
		}
	}
	best, threshold = sum, math.Inf(1)
	last := math.NaN() // the score of the row before; no row yet
	for _, i := range r.order {
		row := &n.rows[i]
		if !use[row.category] {
			continue
		}
		if s := r.scores[i]; s != last {
			if sum > best {
				best, threshold = sum, last
			}
			last = s
		}
		if row.window == outside {
			sum += p.FP * row.worth
		} else if earned := p.TP * row.worth; earned > found[row.window] {
			sum += earned - found[row.window]
			found[row.window] = earned
		}
	}
	if sum > best {
		best, threshold = sum, last
	}
	return best, threshold
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
