package otlp

import (
	"strconv"
	"strings"

	"github.com/fettleops/fettle/intake"
)

// Config are the options of an integration with senders of OTLP.
type Config struct {
	// MaxBody is the greatest body as transmitted, in bytes. Default: 16777216.
	MaxBody int64 `yaml:"max_body"`
	// MaxDecompressed is the greatest body decompressed, in bytes, up to
	// 67108864. Default: 67108864.
	MaxDecompressed int64 `yaml:"max_decompressed"`
	// ResourceAttributes are the attributes of a resource that become labels of
	// its series; a name that ends in * stands for all that begin so. Default:
	// all but those that describe a resource and do not tell it from others.
	ResourceAttributes []string `yaml:"resource_attributes"`
}

// Defaults sets what was not written.
func (c *Config) Defaults() {
	if c.MaxBody == 0 {
		c.MaxBody = 16 << 20
	}
	if c.MaxDecompressed == 0 {
		c.MaxDecompressed = MaxMessage
	}
}

// Validate names what cannot be.
func (c *Config) Validate() error {
	switch {
	case c.MaxBody < 0:
		return &intake.Fault{Field: "max_body", Value: strconv.FormatInt(c.MaxBody, 10), Fix: "write a number of bytes, or leave it out"}
	case c.MaxDecompressed < 0 || c.MaxDecompressed > MaxMessage:
		return &intake.Fault{Field: "max_decompressed", Value: strconv.FormatInt(c.MaxDecompressed, 10), Fix: "write a number of bytes up to " + strconv.Itoa(MaxMessage) + ", or leave it out"}
	}
	for i, a := range c.ResourceAttributes {
		if a == "" || strings.Contains(strings.TrimSuffix(a, "*"), "*") {
			return &intake.Fault{Field: "resource_attributes[" + strconv.Itoa(i) + "]", Value: a, Fix: "write the name of an attribute such as host.name, or the begin of names and a * at the end"}
		}
	}
	return nil
}

// described are the attributes of a resource that say what it is like and not
// which one it is, and change with an upgrade or a restart: a series that had
// them would end there.
var described = []string{
	"telemetry.*", "os.*", "service.version", "webengine.*",
	"process.command*", "process.runtime.*", "process.parent_pid", "process.executable.path", "process.executable.build_id.*", "process.creation.time",
	"process.args_count", "process.working_directory", "process.title", "process.interactive",
	"host.arch", "host.cpu.*", "host.image.*", "host.ip", "host.mac", "host.type",
	"container.image.*", "container.command*", "container.runtime*", "container.label.*",
	"k8s.pod.uid", "k8s.pod.ip", "k8s.pod.start_time", "k8s.pod.label.*", "k8s.pod.labels.*", "k8s.pod.annotation.*", "k8s.pod.annotations.*",
	"k8s.container.restart_count", "k8s.replicaset.*",
	"cloud.platform", "cloud.resource_id", "aws.log.*", "faas.version",
}

// rule says which attributes of a resource become labels.
type rule struct {
	names    map[string]bool
	prefixes []string
	drop     bool // those named are left out instead
}

func ruleOf(c *Config) rule {
	list := c.ResourceAttributes
	out := rule{names: map[string]bool{}}
	if len(list) == 0 {
		list, out.drop = described, true
	}
	for _, a := range list {
		if prefix, ok := strings.CutSuffix(a, "*"); ok {
			out.prefixes = append(out.prefixes, prefix)
		} else {
			out.names[a] = true
		}
	}
	return out
}

func (r *rule) keeps(name string) bool {
	named := r.names[name]
	for i := 0; i < len(r.prefixes) && !named; i++ {
		named = strings.HasPrefix(name, r.prefixes[i])
	}
	return named != r.drop
}
