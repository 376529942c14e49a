package evaluate

// affiliation is the F1 of precision and recall by affiliation (Huet, Navarro
// and Rossi, "Local Evaluation of Time Series Anomaly Detection Algorithms",
// KDD 2022) of the rows at or above the threshold, as a mean over the series
// with windows behind their skipped part; a series without an alarm counts 0.
//
// Each row belongs to the zone of the window it is nearest to. In a zone the
// precision of an alarm is the chance that a row drawn at random lies at least
// as far from the window, and the recall of a row of the window the chance
// that a random row lies at least as far from it as the nearest alarm.
// Precision is averaged over alarms and then over the zones that have any,
// recall over rows and then over all zones. The paper integrates over time;
// here distance is in rows and chance uniform over rows.
func affiliation(r *Ranking, threshold float64) float64 {
	sum, n := 0.0, 0
	for i := range r.set.Series {
		s := &r.set.Series[i]
		windows := behind(s)
		if len(windows) == 0 {
			continue
		}
		n++
		alarms := make([]bool, len(s.Values))
		for row, score := range r.of(i) {
			alarms[row] = score >= threshold
		}
		precision, recall := affiliated(alarms, windows, Skipped(len(s.Values)))
		if precision+recall > 0 {
			sum += 2 * precision * recall / (precision + recall)
		}
	}
	return sum / float64(n)
}

// affiliated is precision and recall of one series from its row first on.
func affiliated(alarms []bool, windows []Window, first int) (precision, recall float64) {
	zones := 0.0 // with an alarm
	from := first
	for k, w := range windows {
		zone := Window{from, len(alarms) - 1}
		if k+1 < len(windows) {
			zone.Last = (w.Last + windows[k+1].First) / 2
		}
		from = zone.Last + 1
		if p, r, any := w.within(zone, alarms); any {
			precision += p
			recall += r
			zones++
		}
	}
	if zones == 0 {
		return 0, 0
	}
	return precision / zones, recall / float64(len(windows))
}

func (w Window) within(zone Window, alarms []bool) (precision, recall float64, any bool) {
	rows := float64(zone.Len())
	// beyond counts the rows of the zone d or more away from the span.
	beyond := func(span Window, d int) float64 {
		if d == 0 {
			return rows
		}
		return float64(max(0, span.First-d-zone.First+1) + max(0, zone.Last-span.Last-d+1))
	}
	n := 0.0
	for x := zone.First; x <= zone.Last; x++ {
		if alarms[x] {
			precision += beyond(w, max(0, w.First-x, x-w.Last)) / rows
			n++
		}
	}
	if n == 0 {
		return 0, 0, false
	}
	nearest := make([]int, w.Len()) // distance of each row of the window to the nearest alarm
	d := len(alarms)
	for x := zone.First; x <= w.Last; x++ {
		if d++; alarms[x] {
			d = 0
		}
		if x >= w.First {
			nearest[x-w.First] = d
		}
	}
	d = len(alarms)
	for x := zone.Last; x >= w.First; x-- {
		if d++; alarms[x] {
			d = 0
		}
		if x <= w.Last {
			nearest[x-w.First] = min(nearest[x-w.First], d)
		}
	}
	for k, d := range nearest {
		y := w.First + k
		recall += beyond(Window{y, y}, d) / rows
	}
	return precision / n, recall / float64(w.Len()), true
}
