package remotewrite

import (
	"strconv"

	"github.com/fettleops/fettle/intake"
)

// Config are the options of an integration with Prometheus remote write.
type Config struct {
	// MaxBody is the greatest body as transmitted, in bytes. Default: 4194304.
	MaxBody int64 `yaml:"max_body"`
	// MaxDecompressed is the greatest body decompressed, in bytes, up to
	// 67108864. Default: 33554432.
	MaxDecompressed int64 `yaml:"max_decompressed"`
}

// Defaults sets what was not written.
func (c *Config) Defaults() {
	if c.MaxBody == 0 {
		c.MaxBody = 4 << 20
	}
	if c.MaxDecompressed == 0 {
		c.MaxDecompressed = 32 << 20
	}
}

// Validate names what cannot be.
func (c *Config) Validate() error {
	switch {
	case c.MaxBody < 0:
		return &intake.Fault{Field: "max_body", Value: strconv.FormatInt(c.MaxBody, 10), Fix: "write a number of bytes, or leave it out"}
	case c.MaxDecompressed < 0 || c.MaxDecompressed > maxBatch:
		return &intake.Fault{Field: "max_decompressed", Value: strconv.FormatInt(c.MaxDecompressed, 10), Fix: "write a number of bytes up to " + strconv.Itoa(maxBatch) + ", or leave it out"}
	}
	return nil
}
