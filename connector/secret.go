package connector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/fettleops/fettle/ops"
)

// secrets passes references on and remembers the values that came back, to
// keep them out of everything printed.
type secrets struct {
	inner Secrets

	mu     sync.RWMutex
	values map[string]bool
}

// mask stands where a secret stood.
const mask = "<redacted>"

// shortest is the length below which a value is not looked for: replacing
// every "a" would garble the text and hide nothing.
const shortest = 4

func (s *secrets) Resolve(ctx context.Context, ref string) (string, error) {
	if s.inner == nil {
		return "", fmt.Errorf("secret %s: no secrets here: %w", ref, ops.ErrInternal)
	}
	v, err := s.inner.Resolve(ctx, ref)
	if err == nil && len(v) >= shortest {
		s.mu.Lock()
		if s.values == nil {
			s.values = map[string]bool{}
		}
		s.values[v] = true
		s.mu.Unlock()
	}
	return v, err
}

func (s *secrets) clean(text string) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for v := range s.values {
		text = strings.ReplaceAll(text, v, mask)
	}
	return text
}

// cleanError returns err, or, when its message shows a secret, a copy of the
// message without it that keeps class and outcome but no other cause, because
// a cause could be printed by itself.
func (s *secrets) cleanError(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	clean := s.clean(text)
	if clean == text {
		return err
	}
	var out error = &plainError{text: clean, class: ops.Class(err)}
	var throttled *ops.Throttled
	var unknown *ops.UnknownOutcome
	if errors.As(err, &throttled) {
		out = &ops.Throttled{After: throttled.After, Err: out}
	}
	if errors.As(err, &unknown) {
		out = &ops.UnknownOutcome{Err: out}
	}
	return out
}

type plainError struct {
	text  string
	class error
}

func (e *plainError) Error() string { return e.text }
func (e *plainError) Unwrap() error { return e.class }

// cleanHandler removes secrets from log lines.
type cleanHandler struct {
	slog.Handler
	secrets *secrets
}

// Handle implements slog.Handler.
func (h *cleanHandler) Handle(ctx context.Context, r slog.Record) error {
	out := slog.NewRecord(r.Time, r.Level, h.secrets.clean(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		out.AddAttrs(h.attr(a))
		return true
	})
	return h.Handler.Handle(ctx, out)
}

// WithAttrs implements slog.Handler.
func (h *cleanHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	out := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		out[i] = h.attr(a)
	}
	return &cleanHandler{h.Handler.WithAttrs(out), h.secrets}
}

// WithGroup implements slog.Handler.
func (h *cleanHandler) WithGroup(name string) slog.Handler {
	return &cleanHandler{h.Handler.WithGroup(name), h.secrets}
}

func (h *cleanHandler) attr(a slog.Attr) slog.Attr {
	v := a.Value.Resolve()
	switch v.Kind() {
	case slog.KindGroup:
		group := v.Group()
		out := make([]slog.Attr, len(group))
		for i, g := range group {
			out[i] = h.attr(g)
		}
		return slog.Attr{Key: a.Key, Value: slog.GroupValue(out...)}
	case slog.KindString, slog.KindAny:
		text := v.String()
		if clean := h.secrets.clean(text); clean != text {
			return slog.String(a.Key, clean)
		}
	}
	return slog.Attr{Key: a.Key, Value: v}
}
