// Package ops is the vocabulary of Fettle: the nouns every room shares, their
// legal moves, the facts rooms tell each other, the commands they queue and
// the classes of error that decide how a failure is handled.
//
// It holds plain data and pure functions only, imports nothing but the
// standard library and does no I/O. Times are UTC; the zone of a person, a
// team or a window is applied at the edge.
package ops
