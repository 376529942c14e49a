//go:generate go run ../../internal/gen -what platforms

package all
