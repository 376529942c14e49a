package change

import "log/slog"

// NewRoomOn builds a room on a gate that is compiled already: what a process
// that comes up again holds, without the price of compiling.
func NewRoomOn(g *Gate, d Deps) *Room {
	r := &Room{Deps: d}
	r.Log = d.Log.With(slog.String("room", "change"))
	r.gate.Store(g)
	return r
}

// Without returns the gate without one of its guards.
func (g *Gate) Without(name string) *Gate {
	broken := *g
	broken.off = map[guard]bool{guard(name): true}
	return &broken
}
