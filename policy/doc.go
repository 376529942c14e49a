// Package policy is CEL over the words of ops: one environment per word, compiled
// once, with a cost limit.
package policy
