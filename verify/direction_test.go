package verify_test

import (
	"testing"

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
