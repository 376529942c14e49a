package chrome

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/fettleops/fettle/ops"
)

// Fault is an error as a page tells it: what, why and what next.
type Fault struct {
	Status int
	Icon   string
	What   string
	Why    string
	Next   string
	Safe   string // what is not lost
	Back   string // URL
}

// faults holds how each class of error is told.
var faults = map[error]Fault{
	ops.ErrNotFound: {Status: http.StatusNotFound, Icon: "search", What: "Not found", Next: "Check the number, or find it by its title."},
	ops.ErrInvalid: {
		Status: http.StatusUnprocessableEntity, Icon: "warn", What: "This cannot be done as asked",
		Next: "Go back, correct it and send it again.", Safe: "Nothing was changed.",
	},
	ops.ErrDenied:   {Status: http.StatusForbidden, Icon: "lock", What: "Not allowed", Safe: "Nothing was changed."},
	ops.ErrConflict: {Status: http.StatusConflict, Icon: "sync-conflict", What: "Somebody was faster", Next: "Read it again and decide anew.", Safe: "Nothing was changed by this request."},
	ops.ErrThrottled: {
		Status: http.StatusTooManyRequests, Icon: "clock", What: "Too many requests", Next: "Wait a minute and try again.", Safe: "Nothing was changed.",
	},
	ops.ErrUnavailable: {
		Status: http.StatusServiceUnavailable, Icon: "sync-pending", What: "A part of Fettle or a platform did not answer",
		Next: "Try again in a moment.", Safe: "Nothing is lost: edits that wait go out in order.",
	},
	ops.ErrStalled: {Status: http.StatusConflict, Icon: "st-hold", What: "A person has to act first"},
	ops.ErrInternal: {
		Status: http.StatusInternalServerError, Icon: "warn", What: "Fettle made a mistake",
		Next: "Try again; if it stays, the server's log at this time says more.", Safe: "What was recorded before is safe.",
	},
}

// FaultOf returns how an error is told to a person. The text of a defect of
// ours stays in the log.
func FaultOf(err error) Fault {
	class := ops.Class(err)
	f := faults[class]
	if !errors.Is(class, ops.ErrInternal) {
		f.Why = Reason(err)
	}
	return f
}

// Reason returns the text of an error without the name of its class.
func Reason(err error) string {
	s := strings.TrimSuffix(err.Error(), ": "+ops.Class(err).Error())
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

// Fail answers with a page that tells err. v may be nil.
func (c *Chrome) Fail(w http.ResponseWriter, r *http.Request, v *Visit, err error) {
	if errors.Is(err, r.Context().Err()) && r.Context().Err() != nil {
		return // the reader went away
	}
	f := FaultOf(err)
	if f.Status >= http.StatusInternalServerError {
		c.log(r, err)
	}
	f.Back = "/"
	if after := ops.RetryAfter(err); after > 0 {
		w.Header().Set("Retry-After", seconds(after))
	}
	view := View{Status: f.Status, Title: f.What, Crumbs: []Crumb{{Name: f.What}}, Body: f}
	if v != nil && c.Render(w, r, v, c.fault, view) == nil {
		return
	}
	// Without a session, or when even the rail cannot be drawn.
	if err := c.Bare(w, r, c.fault, view); err != nil {
		c.log(r, err)
		http.Error(w, f.What, f.Status)
	}
}

// Missing answers for a page that does not exist.
func (c *Chrome) Missing(_ http.ResponseWriter, r *http.Request, _ *Visit) error {
	return fmt.Errorf("there is no page %s: %w", r.URL.Path, ops.ErrNotFound)
}
