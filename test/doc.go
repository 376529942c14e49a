// Package test holds the timeline acceptance tests: the whole application, in
// one process, over hours and days of virtual time. Its tests read as the
// specification of the product; the words they are written in are in the
// files words_*_test.go.
package test
