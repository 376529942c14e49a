// Package all lists the platforms. A new one is a new folder and make generate.
package all

//go:generate go run ../../internal/gen -what platforms
