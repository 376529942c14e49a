//go:generate go run ../../internal/gen -what sources

package all
