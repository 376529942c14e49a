package kinesis

import (
	"net/url"
	"strings"
	"time"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/internal/unit"
)

// Config are the options of an integration with Kinesis Data Streams.
type Config struct {
	// Stream is the name of the stream, or its ARN, which a stream of another
	// account needs.
	Stream string `yaml:"stream"`
	// Region of the stream. Default: that of the ARN, else as every AWS tool finds it.
	Region string `yaml:"region"`
	// Role to assume, an ARN. Default: none, the credentials as found.
	Role string `yaml:"role"`
	// ExternalID that the role asks for, plain or a reference. Default: none.
	ExternalID string `yaml:"external_id"`
	// Start is where a stream begins that was never read: latest or trim_horizon,
	// the oldest there is. Default: latest.
	Start string `yaml:"start" enum:"latest,trim_horizon"`
	// Every is how often a shard is asked when nothing waits in it, 200 ms or
	// more. Default: 1s.
	Every unit.Duration `yaml:"every"`
	// Lease is how long the shards of a server that died wait for the next one,
	// 1 s or more, and well more than the clocks of servers differ. Default: 30s.
	Lease unit.Duration `yaml:"lease"`
	// Endpoint is another address of Kinesis, such as that of a VPC endpoint.
	// Default: the public one.
	Endpoint string `yaml:"endpoint"`
}

// Where a stream begins.
const (
	latest      = "latest"
	trimHorizon = "trim_horizon"
)

// Defaults sets what was not written.
func (c *Config) Defaults() {
	if c.Start == "" {
		c.Start = latest
	}
	if c.Every.D == 0 {
		c.Every.D = time.Second
	}
	if c.Lease.D == 0 {
		c.Lease.D = 30 * time.Second
	}
	if c.Region == "" {
		c.Region = regionOf(c.Stream)
	}
}

// minEvery is what five calls a second and shard, the limit of Kinesis, allow.
const minEvery = 200 * time.Millisecond

// check returns the fault of the first option that is wrong.
func (c *Config) check() error {
	switch {
	case c.Stream == "":
		return &intake.Fault{Field: "stream", Fix: "is missing; write the name or the ARN of the stream"}
	case isARN(c.Stream) && regionOf(c.Stream) == "":
		return &intake.Fault{Field: "stream", Value: c.Stream, Fix: "write arn:aws:kinesis:REGION:ACCOUNT:stream/NAME, or the name alone"}
	case isARN(c.Stream) && c.Region != regionOf(c.Stream):
		return &intake.Fault{Field: "region", Value: c.Region, Fix: "remove it: the ARN of the stream says another one"}
	case c.Role != "" && !isARN(c.Role):
		return &intake.Fault{Field: "role", Value: c.Role, Fix: "write the ARN of a role, arn:aws:iam::ACCOUNT:role/NAME"}
	case c.ExternalID != "" && c.Role == "":
		return &intake.Fault{Field: "external_id", Fix: "set role too: an external id is for assuming one"}
	case c.Start != latest && c.Start != trimHorizon:
		return &intake.Fault{Field: "start", Value: c.Start, Fix: "write latest or trim_horizon"}
	case c.Every.D < minEvery:
		return &intake.Fault{Field: "every", Value: c.Every.String(), Fix: "write 200ms or more: Kinesis allows five calls a second"}
	case c.Lease.D < time.Second:
		return &intake.Fault{Field: "lease", Value: c.Lease.String(), Fix: "write 1s or more"}
	}
	if c.Endpoint != "" {
		if u, err := url.Parse(c.Endpoint); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
			return &intake.Fault{Field: "endpoint", Fix: "write an address such as https://vpce-0abc.kinesis.eu-west-1.vpce.amazonaws.com"}
		}
	}
	return nil
}

// name is the stream's name, however the configuration says it.
func (c *Config) name() string {
	if isARN(c.Stream) {
		return c.Stream[strings.LastIndexByte(c.Stream, '/')+1:]
	}
	return c.Stream
}

func isARN(s string) bool { return strings.HasPrefix(s, "arn:") }

// regionOf returns the region in the ARN of a stream.
func regionOf(arn string) string {
	p := strings.Split(arn, ":")
	if len(p) != 6 || p[2] != "kinesis" || !strings.HasPrefix(p[5], "stream/") {
		return ""
	}
	return p[3]
}
