package feature

import (
	"slices"
	"time"
)

// Sets returns the names of the ready sets, sorted.
func Sets() []string {
	var out []string
	for _, s := range readySets() {
		out = append(out, s.Name)
	}
	slices.Sort(out)
	return out
}

func ready(name string) (Group, bool) {
	for _, s := range readySets() {
		if s.Name == name {
			return s, true
		}
	}
	return Group{}, false
}

// What is no device of its own: loopback, and what stands on, or is a part of,
// a device that is counted too.
const (
	noLink = `"^(lo|lo0|Loopback.*|veth.*|docker.*|br-.*|virbr.*|cni.*|flannel.*|cali.*|cilium.*|lxc.*|vnet.*|tap.*|tun.*|dummy.*|ifb.*|kube-.*|nodelocaldns)$"`
	noDisk = `"^(loop|ram|zram|dm-|md|sr|fd)[0-9]*$|^((h|s|v|xv)d[a-z]+|(nvme[0-9]+n|mmcblk)[0-9]+p)[0-9]+$"`
)

// readySets are the ready sets: the four features of the AIOps method (seed
// 002, section 2) of one machine. cpu_utilization and memory_utilization are
// ratios from 0 to 1, memory in use being what is not available to programs;
// network_io and disk_io are bytes per second, both directions together, over
// all devices that are no part of another and no loopback.
func readySets() []Group {
	yes, no := new(true), new(false)
	clamp := func(expr string) string { return "(" + expr + ") < 0.0 ? 0.0 : (" + expr + ")" }
	five := 5 * time.Minute
	return []Group{
		{
			// prometheus/node_exporter, which keeps idle and iowait from going
			// back as the kernel's do.
			Name: "node_exporter", Entity: []string{"instance"},
			Features: []Feature{
				{Name: "cpu_idle", Metrics: []string{"node_cpu_seconds_total"}, Match: `metric.labels.mode == "idle"`, Rate: yes, ByEntity: Avg, Unit: "1", Hidden: true},
				{Name: "cpu_iowait", Metrics: []string{"node_cpu_seconds_total"}, Match: `metric.labels.mode == "iowait"`, Rate: yes, ByEntity: Avg, Unit: "1", Hidden: true},
				{Name: "memory_available", Metrics: []string{"node_memory_MemAvailable_bytes"}, Rate: no, Unit: "By", Hidden: true},
				{Name: "memory_total", Metrics: []string{"node_memory_MemTotal_bytes"}, Rate: no, Unit: "By", Hidden: true},
				{Name: "cpu_utilization", Expr: clamp("1.0 - cpu_idle - cpu_iowait"), Unit: "1"},
				{Name: "memory_utilization", Expr: "1.0 - memory_available / memory_total", Unit: "1"},
				{Name: "network_io", Metrics: []string{"node_network_receive_bytes_total", "node_network_transmit_bytes_total"}, Match: `!metric.labels.device.matches(` + noLink + `)`, Rate: yes, ByEntity: Sum, Unit: "By/s"},
				{Name: "disk_io", Metrics: []string{"node_disk_read_bytes_total", "node_disk_written_bytes_total"}, Match: `!metric.labels.device.matches(` + noDisk + `)`, Rate: yes, ByEntity: Sum, Unit: "By/s"},
			},
		},
		{
			// OpenTelemetry system metrics, with the attributes of the
			// hostmetrics receiver (cpu, state, device, direction) and those of
			// the semantic conventions (cpu.mode, system.memory.state, ...). The
			// receiver's idle and wait are the kernel's: either may go back a
			// little, which reads as a reset and gives more than 1 of idleness,
			// hence 0 of utilization for that step.
			Name: "otel_hostmetrics", Entity: []string{"host.name"},
			Features: []Feature{
				{Name: "cpu_idle", Metrics: []string{"system.cpu.time"}, Match: `metric.labels.state == "idle" || metric.labels["cpu.mode"] == "idle"`, Rate: yes, ByEntity: Avg, Unit: "1", Hidden: true},
				{Name: "cpu_iowait", Metrics: []string{"system.cpu.time"}, Match: `metric.labels.state == "wait" || metric.labels["cpu.mode"] == "iowait"`, Rate: yes, ByEntity: Avg, Unit: "1", Hidden: true},
				{Name: "memory_used", Metrics: []string{"system.memory.usage"}, Match: `metric.labels.state == "used" || metric.labels["system.memory.state"] == "used"`, Rate: no, ByEntity: Sum, Unit: "By", Hidden: true},
				{
					// The slabs are counted in used or cached already.
					Name: "memory_total", Metrics: []string{"system.memory.usage"},
					Match: `[metric.labels.state, metric.labels["system.memory.state"]].exists(s, s in ["used", "free", "cached", "buffered", "buffers", "inactive"])`,
					Rate:  no, ByEntity: Sum, Unit: "By", Hidden: true,
				},
				{Name: "cpu_utilization", Expr: clamp("1.0 - cpu_idle - cpu_iowait"), Unit: "1"},
				{Name: "memory_utilization", Expr: "memory_used / memory_total", Unit: "1"},
				{
					Name: "network_io", Metrics: []string{"system.network.io"},
					Match: `!metric.labels.device.matches(` + noLink + `) && !metric.labels["network.interface.name"].matches(` + noLink + `)`,
					Rate:  yes, ByEntity: Sum, Unit: "By/s",
				},
				{
					Name: "disk_io", Metrics: []string{"system.disk.io"},
					Match: `!metric.labels.device.matches(` + noDisk + `) && !metric.labels["system.device"].matches(` + noDisk + `)`,
					Rate:  yes, ByEntity: Sum, Unit: "By/s",
				},
			},
		},
		{
			// AWS/EC2 reports every five minutes unless detailed monitoring is
			// on, two to three minutes late; memory is known only to the
			// CloudWatch agent (CWAgent). Series of all instances together have
			// no InstanceId and are of no entity.
			Name: "cloudwatch_ec2", Entity: []string{"InstanceId"}, Step: five, Lateness: &five, InOrder: no,
			Features: []Feature{
				{Name: "cpu_utilization", Metrics: []string{"amazonaws.com/AWS/EC2/CPUUtilization"}, Match: `metric.labels.stat == "avg"`, Rate: no, Unit: "1"},
				{Name: "memory_utilization", Metrics: []string{"amazonaws.com/CWAgent/mem_used_percent"}, Match: `metric.labels.stat == "avg"`, Rate: no, Unit: "1"},
				{Name: "network_io", Metrics: []string{"amazonaws.com/AWS/EC2/NetworkIn", "amazonaws.com/AWS/EC2/NetworkOut"}, Match: `metric.labels.stat == "sum"`, Rate: yes, ByEntity: Sum, Unit: "By/s"},
				{
					Name: "disk_io", Match: `metric.labels.stat == "sum"`, Rate: yes, ByEntity: Sum, Unit: "By/s",
					Metrics: []string{
						"amazonaws.com/AWS/EC2/DiskReadBytes", "amazonaws.com/AWS/EC2/DiskWriteBytes",
						"amazonaws.com/AWS/EC2/EBSReadBytes", "amazonaws.com/AWS/EC2/EBSWriteBytes",
					},
				},
			},
		},
		{
			// Fettle's own sampler (intake/host), whose resource is a label.
			Name: "host", Entity: []string{"resource"},
			Features: []Feature{
				{Name: "cpu_utilization", Metrics: []string{"cpu_utilization"}, Rate: no, Unit: "1"},
				{Name: "memory_utilization", Metrics: []string{"memory_utilization"}, Rate: no, Unit: "1"},
				{Name: "network_io", Metrics: []string{"network_receive_bytes_per_second", "network_transmit_bytes_per_second"}, Rate: no, ByEntity: Sum, Unit: "By/s"},
				{Name: "disk_io", Metrics: []string{"disk_read_bytes_per_second", "disk_write_bytes_per_second"}, Rate: no, ByEntity: Sum, Unit: "By/s"},
			},
		},
	}
}
