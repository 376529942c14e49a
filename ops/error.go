package ops

import (
	"errors"
	"fmt"
	"time"
)

// The eight classes of error. Every error that crosses a room's edge wraps
// exactly one; two tables read them: api (class to HTTP status) and job (class
// to retry, snooze or cancel).
var (
	// ErrNotFound: the thing named does not exist.
	ErrNotFound = errors.New("not found")
	// ErrInvalid: the input is wrong and stays wrong; the message names the field, the value and the fix.
	ErrInvalid = errors.New("invalid")
	// ErrDenied: the caller may not do this; the message names the rule and who may.
	ErrDenied = errors.New("denied")
	// ErrConflict: somebody else was first; read again and decide anew.
	ErrConflict = errors.New("conflict")
	// ErrThrottled: the peer asks for patience; see RetryAfter.
	ErrThrottled = errors.New("throttled")
	// ErrUnavailable: the peer did not answer or answered nonsense; the same call may succeed later.
	ErrUnavailable = errors.New("unavailable")
	// ErrStalled: nothing will change until a person acts; the message says what to do.
	ErrStalled = errors.New("stalled")
	// ErrInternal: a defect of ours.
	ErrInternal = errors.New("internal")
)

var classes = []error{ErrNotFound, ErrInvalid, ErrDenied, ErrConflict, ErrThrottled, ErrUnavailable, ErrStalled, ErrInternal}

// Class returns the class err wraps, ErrInternal for an error without one and
// nil for nil.
func Class(err error) error {
	if err == nil {
		return nil
	}
	for _, c := range classes {
		if errors.Is(err, c) {
			return c
		}
	}
	return ErrInternal
}

// UnknownOutcome marks an error after which nobody knows whether the effect
// happened (a timeout, a cut connection, an HTML page instead of an answer).
// The caller looks the effect up by its key before it tries again.
type UnknownOutcome struct{ Err error }

// Error returns the wrapped message.
func (e *UnknownOutcome) Error() string { return "outcome unknown: " + e.Err.Error() }

// Unwrap returns the wrapped error, whose class is normally ErrUnavailable.
func (e *UnknownOutcome) Unwrap() error { return e.Err }

// Throttled is an ErrThrottled that says how long to wait.
type Throttled struct {
	After time.Duration // how long the peer asked us to wait; zero when it did not say
	Err   error
}

// Error returns the wrapped message with the wait.
func (e *Throttled) Error() string {
	return fmt.Sprintf("throttled, try again in %s: %v", e.After, e.Err)
}

// Is reports that every Throttled is an ErrThrottled.
func (e *Throttled) Is(target error) bool { return target == ErrThrottled }

// Unwrap returns the wrapped error.
func (e *Throttled) Unwrap() error { return e.Err }

// RetryAfter returns the wait a peer asked for, zero when err names none.
func RetryAfter(err error) time.Duration {
	var t *Throttled
	if errors.As(err, &t) {
		return t.After
	}
	return 0
}
