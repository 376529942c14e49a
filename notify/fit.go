package notify

import (
	"fmt"

	"github.com/fettleops/fettle/ops"
)

// Fit renders a message for programs in at most limit bytes. Where it is too
// long its texts are cut and lines of a digest counted instead, the least that
// is needed.
func Fit(m Message, limit int, render func(Message) ([]byte, error)) ([]byte, error) {
	for texts := limit; ; texts /= 2 {
		short := m
		short.Title, short.What, short.Why = CutRunes(OneLine(m.Title), max(texts/8, 64)), Cut(m.What, texts/3), Cut(m.Why, texts/3)
		short.Resource, short.Team, short.Link = Cut(m.Resource, texts), Cut(m.Team, texts), m.Link
		if lines := texts / 128; len(m.Held) > lines {
			short.Held, short.More = m.Held[:lines], m.More+len(m.Held)-lines
		}
		if most := texts / 256; len(m.Tickets) > most {
			short.Tickets = m.Tickets[:most]
		}
		out, err := render(short)
		switch {
		case err != nil:
			return nil, fmt.Errorf("render: %w: %w", err, ops.ErrInternal)
		case len(out) <= limit:
			return out, nil
		case texts < 32:
			return nil, fmt.Errorf("the message has %d bytes at least, and the channel takes %d: %w", len(out), limit, ops.ErrInvalid)
		}
	}
}
