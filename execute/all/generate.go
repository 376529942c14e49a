//go:generate go run ../../internal/gen -what tools

package all
