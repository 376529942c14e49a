package evaluate

import (
	"encoding/json"
	"math"
	"slices"
)

// Number is a figure. One that is not known, NaN inside, is null as JSON.
type Number float64

// MarshalJSON writes a number, or null.
func (n Number) MarshalJSON() ([]byte, error) {
	if v := float64(n); math.IsNaN(v) || math.IsInf(v, 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

// UnmarshalJSON reads a number, or null.
func (n *Number) UnmarshalJSON(b []byte) error {
	v := math.NaN()
	if string(b) != "null" {
		if err := json.Unmarshal(b, &v); err != nil {
			return err
		}
	}
	*n = Number(v)
	return nil
}

// Range is how one figure spreads over the seeds. SD is the standard deviation
// of the sample, 0 for one seed.
type Range struct {
	Min Number `json:"min"`
	Max Number `json:"max"`
	SD  Number `json:"sd"`
}

// Figures are all measures of a detector on a set: numbers, or ranges of them.
type Figures[T any] struct {
	// NAB has the score under each profile by its name, at the threshold that
	// is best for it in-sample, and for the profile "standard" also
	// "standard_leave_one_category_out". It is nil for point-labelled sets.
	NAB map[string]T `json:"nab"`
	// AveragePrecision and ROCAUC are those of PointScores. On a NAB set each
	// row of a window counts as anomalous.
	AveragePrecision T `json:"average_precision"`
	ROCAUC           T `json:"roc_auc"`
	// VUSPR is null when it was not asked for.
	VUSPR T `json:"vus_pr"`
	// Alarms has the rest of what AtBudget says.
	Alarms AlarmFigures[T] `json:"alarms"`
}

// AlarmFigures are the figures of Alarms.
type AlarmFigures[T any] struct {
	PerWeek       T `json:"false_alarms_per_week"`
	EventRecall   T `json:"event_recall"`
	RangeRecall   T `json:"range_recall"`
	DelayRows     T `json:"delay_rows"`
	DelaySeconds  T `json:"delay_seconds"`
	AffiliationF1 T `json:"affiliation_f1"`
}

// Result is what a run says of one detector: means over the seeds and how they
// spread.
type Result struct {
	Name string `json:"name"`
	Figures[Number]
	Seeds  int            `json:"seeds"`
	Spread Figures[Range] `json:"spread"`
}

// Judge measures scores on one set. It is safe for concurrent use.
type Judge struct {
	set     *Set
	nab     *NAB
	perWeek float64
	vus     bool
}

// NewJudge prepares the measures of a set, with a budget of false alarms per
// series and week. VUS-PR takes long and is left out unless asked for.
func NewJudge(set *Set, perWeek float64, vus bool) *Judge {
	j := &Judge{set: set, perWeek: perWeek, vus: vus}
	if len(set.Profiles) > 0 {
		j.nab = NewNAB(set)
	}
	return j
}

// Measure takes all measures of one detector's scores, one slice for each
// series of the set.
func (j *Judge) Measure(scores [][]float64) Figures[Number] {
	r := Rank(j.set, scores)
	points, alarms := Points(r), AtBudget(r, j.perWeek)
	out := Figures[Number]{
		AveragePrecision: Number(points.AveragePrecision), ROCAUC: Number(points.ROCAUC), VUSPR: Number(math.NaN()),
		Alarms: AlarmFigures[Number]{
			PerWeek: Number(alarms.PerWeek), EventRecall: Number(alarms.EventRecall), RangeRecall: Number(alarms.RangeRecall),
			DelayRows: Number(alarms.DelayRows), DelaySeconds: Number(alarms.DelaySeconds), AffiliationF1: Number(alarms.AffiliationF1),
		},
	}
	if j.vus {
		out.VUSPR = Number(VUSPR(r))
	}
	if j.nab != nil {
		out.NAB = map[string]Number{}
		for _, p := range j.set.Profiles {
			out.NAB[p.Name] = Number(j.nab.Best(r, p).Score)
			if p.Name == "standard" {
				out.NAB["standard_leave_one_category_out"] = Number(j.nab.LeaveOneCategoryOut(r, p))
			}
		}
	}
	return out
}

// fold makes one figure of each figure of several runs.
func fold[T any](runs []Figures[Number], f func([]float64) T) Figures[T] {
	each := func(pick func(r *Figures[Number]) Number) T {
		var v []float64
		for i := range runs {
			if x := float64(pick(&runs[i])); !math.IsNaN(x) {
				v = append(v, x)
			}
		}
		return f(v)
	}
	out := Figures[T]{
		AveragePrecision: each(func(r *Figures[Number]) Number { return r.AveragePrecision }),
		ROCAUC:           each(func(r *Figures[Number]) Number { return r.ROCAUC }),
		VUSPR:            each(func(r *Figures[Number]) Number { return r.VUSPR }),
		Alarms: AlarmFigures[T]{
			PerWeek:       each(func(r *Figures[Number]) Number { return r.Alarms.PerWeek }),
			EventRecall:   each(func(r *Figures[Number]) Number { return r.Alarms.EventRecall }),
			RangeRecall:   each(func(r *Figures[Number]) Number { return r.Alarms.RangeRecall }),
			DelayRows:     each(func(r *Figures[Number]) Number { return r.Alarms.DelayRows }),
			DelaySeconds:  each(func(r *Figures[Number]) Number { return r.Alarms.DelaySeconds }),
			AffiliationF1: each(func(r *Figures[Number]) Number { return r.Alarms.AffiliationF1 }),
		},
	}
	for key := range runs[0].NAB {
		if out.NAB == nil {
			out.NAB = map[string]T{}
		}
		out.NAB[key] = each(func(r *Figures[Number]) Number { return r.NAB[key] })
	}
	return out
}

func mean(v []float64) Number {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return Number(sum / float64(len(v))) // of nothing: NaN
}

func spread(v []float64) Range {
	if len(v) == 0 {
		unknown := Number(math.NaN())
		return Range{unknown, unknown, unknown}
	}
	m, squares := float64(mean(v)), 0.0
	for _, x := range v {
		squares += (x - m) * (x - m)
	}
	sd := math.Sqrt(squares / math.Max(1, float64(len(v)-1)))
	return Range{Min: Number(slices.Min(v)), Max: Number(slices.Max(v)), SD: Number(sd)}
}
