package verify_test

import (
	"testing"
	"time"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/verify"
)

func TestDefaultDirection(t *testing.T) {
	f := func(metric string, want verify.Direction, labels ...string) {
		t.Helper()
		id := ops.SeriesID{Metric: metric, Labels: map[string]string{}}
		for i := 0; i < len(labels); i += 2 {
			id.Labels[labels[i]] = labels[i+1]
		}
		d, known := verify.DefaultDirection(id)
		if d != want || known != (want != verify.WorseBoth) {
			t.Errorf("%s %v: %s, known %v; want %s", metric, labels, d, known, want)
		}
	}
	f("CPUUtilization", verify.WorseUp)
	f("cpu_utilization", verify.WorseUp)
	f("system.cpu.load_average.1m", verify.WorseUp)
	f("node_load1", verify.WorseUp)
	f("TargetResponseTime", verify.WorseUp)
	f("request_latency_seconds_sum", verify.WorseUp)
	f("HTTPCode_ELB_5XX_Count", verify.WorseUp)
	f("http_requests_total", verify.WorseUp, "code", "503")
	f("http_requests_total", verify.WorseDown, "code", "200")
	f("http_requests_total", verify.WorseBoth)
	f("errors_of_successful_logins", verify.WorseUp)
	f("UnHealthyHostCount", verify.WorseUp)
	f("HealthyHostCount", verify.WorseDown)
	f("service_availability", verify.WorseDown)
	f("orders_success_total", verify.WorseDown)
	f("system.cpu.time", verify.WorseDown, "state", "idle")
	f("node_filesystem_avail_bytes", verify.WorseDown)
	f("ApproximateQueueDepth", verify.WorseUp)
	f("group_members", verify.WorseBoth) // no word of it is "up"
	f("temperature", verify.WorseBoth)
}

// A smaller machine is busier, and that is what it is for; it is not meant to
// be full, slow or broken.
func TestExpectedOfRightSizing(t *testing.T) {
	smaller := ops.Change{RecommendationID: "r", Analysis: &ops.Analysis{Kind: "Downsize", Saving: &ops.Saving{Amount: 10}}}
	dearer := ops.Change{RecommendationID: "r", Analysis: &ops.Analysis{Kind: "Upsize", Saving: &ops.Saving{Amount: -10}}}
	f := func(what string, ch ops.Change, metric, unit string, before, after float64, want bool, labels ...string) {
		t.Helper()
		s := ops.Series{SeriesID: ops.SeriesID{Metric: metric, Labels: map[string]string{}}, Unit: unit}
		for i := 0; i < len(labels); i += 2 {
			s.Labels[labels[i]] = labels[i+1]
		}
		for i := range 10 {
			s.Points = append(s.Points, ops.Point{At: t0.Add(time.Duration(i-10) * time.Minute), Value: before}, ops.Point{At: t0.Add(time.Duration(i) * time.Minute), Value: after})
		}
		if got := verify.Expected(s, ch, t0); got != want {
			t.Errorf("%s: %s from %v to %v is expected: %v, want %v", what, metric, before, after, got, want)
		}
	}
	f("busier", smaller, "CPUUtilization", "Percent", 20, 70, true)
	f("busier", smaller, "cpu_utilization", "", 0.2, 0.7, true)
	f("busier, in percent without a unit", smaller, "cpu_utilization", "", 20, 70, true)
	f("less idle", smaller, "cpu_percent", "%", 80, 30, true, "mode", "idle")
	f("less left", smaller, "memory_free_ratio", "", 0.8, 0.3, true)
	f("full", smaller, "CPUUtilization", "Percent", 20, 95, false)
	f("nothing left", smaller, "memory_free_ratio", "", 0.8, 0.05, false)
	f("of nobody knows how much", smaller, "memory_used_bytes", "By", 1e9, 2e9, false)
	f("slower", smaller, "request_latency", "s", 0.1, 0.2, false)
	f("errors", smaller, "error_ratio", "", 0, 0.2, false)
	f("used up by waiting", smaller, "cpu_usage_iowait", "%", 1, 20, false)
	f("a bigger machine is not", dearer, "CPUUtilization", "Percent", 20, 70, false)
	f("nor is anything else", ops.Change{}, "CPUUtilization", "Percent", 20, 70, false)
}
