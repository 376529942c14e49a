package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/fettleops/fettle/ops"
)

// statuses is the one table from a class of error to an HTTP status.
var statuses = map[error]int{
	ops.ErrNotFound:    http.StatusNotFound,
	ops.ErrInvalid:     http.StatusUnprocessableEntity,
	ops.ErrDenied:      http.StatusForbidden,
	ops.ErrConflict:    http.StatusConflict,
	ops.ErrThrottled:   http.StatusTooManyRequests,
	ops.ErrUnavailable: http.StatusServiceUnavailable,
	ops.ErrStalled:     http.StatusConflict,
	ops.ErrInternal:    http.StatusInternalServerError,
}

// problems lists the statuses a caller must be ready for: what the decoder
// refuses, a missing credential, and every class of error.
func problems() []int {
	codes := []int{http.StatusBadRequest, http.StatusUnauthorized}
	for _, code := range statuses {
		codes = append(codes, code)
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

// Status returns the HTTP status of an error and the text a caller may see: of
// a defect of ours only that it was one.
func Status(err error) (int, string) {
	class := ops.Class(err)
	if errors.Is(class, ops.ErrInternal) {
		return statuses[class], "Something is wrong inside Fettle; its log says what. Nothing was done by halves."
	}
	return statuses[class], err.Error()
}

// fail turns an error into a problem and logs defects of ours.
func (a *API) fail(ctx context.Context, op string, err error) error {
	code, text := Status(err)
	if code == http.StatusInternalServerError {
		a.Logger.LogAttrs(ctx, slog.LevelError, "request failed", slog.String("operation", op), slog.Any("error", err))
	}
	problem := huma.NewError(code, text)
	if wait := ops.RetryAfter(err); wait > 0 {
		return huma.ErrorWithHeaders(problem, http.Header{"Retry-After": {strconv.Itoa(int(wait.Seconds()) + 1)}})
	}
	return problem
}

// problemType is the content type of an error (RFC 9457).
const problemType = "application/problem+json"

func writeProblem(w http.ResponseWriter, code int, detail string) {
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{"title": http.StatusText(code), "status": code, "detail": detail})
}

// Page bounds a list and reads its cursor.
type Page struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"how many at most"`
	Cursor string `query:"cursor" doc:"next of the page before; empty for the first"`
}

func (p Page) before() (int64, error) {
	if p.Cursor == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(p.Cursor, 10, 64)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("cursor %q is not one this server gave: %w", p.Cursor, ops.ErrInvalid)
	}
	return n, nil
}

// List is one page of records.
type List[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty" doc:"cursor of the next page; absent on the last"`
}

func newList[T any](items []T, limit int, number func(T) int64) List[T] {
	return listOf(items, limit, func(x T) string { return strconv.FormatInt(number(x), 10) })
}

// listOf is the page of at most limit items; cursor is where one is in the list.
func listOf[T any](items []T, limit int, cursor func(T) string) List[T] {
	l := List[T]{Items: items}
	if items == nil {
		l.Items = []T{}
	}
	if len(items) == limit && limit > 0 {
		l.Next = cursor(items[limit-1])
	}
	return l
}
