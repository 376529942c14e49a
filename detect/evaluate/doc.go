// Package evaluate measures detectors on labelled series: the score of the
// Numenta Anomaly Benchmark (NAB), point-wise and range-aware measures, alarms
// and delays, each over several seeds.
//
// It is the only package that reads labels. A detector is handed points one at
// a time and never sees a label, a file's name or a later point; its settings
// are equal for every series of a run but for the step, which is measured on
// the first rows.
package evaluate
