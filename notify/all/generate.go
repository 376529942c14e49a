// Package all lists the channels. A new one is a new folder and make generate.
package all

//go:generate go run ../../internal/gen -what channels
