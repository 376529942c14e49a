package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/fettleops/fettle/ops"
)

const (
	eventsPath = "/api/v1/events"

	eventPoll  = time.Second
	eventAlive = 15 * time.Second
	eventBatch = 500
)

// eventsOperation describes events, which the decoder of the other operations
// does not serve.
func (a *API) eventsOperation() *huma.Operation {
	schema := &huma.Schema{Type: huma.TypeString}
	op := &huma.Operation{
		OperationID: "stream-events", Method: http.MethodGet, Path: eventsPath, Summary: "Facts as they happen, as server-sent events",
		Description: "Each event has the fact's sequence number as id, the name fact and the fact in JSON as data. A comment is sent every 15 seconds without one.",
		Parameters:  []*huma.Param{{Name: "Last-Event-ID", In: "header", Description: "go on after this sequence number; default from now on", Schema: schema}},
		Responses:   map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{"text/event-stream": {Schema: schema}}}},
	}
	problem := huma.SchemaFromType(a.huma.OpenAPI().Components.Schemas, reflect.TypeFor[huma.ErrorModel]())
	for _, code := range []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden} {
		op.Responses[strconv.Itoa(code)] = &huma.Response{Description: http.StatusText(code), Content: map[string]*huma.MediaType{problemType: {Schema: problem}}}
	}
	return op
}

// events streams facts as server-sent events (WHATWG HTML, section 9.2): id is
// the fact's sequence number, so that Last-Event-ID resumes without a gap.
func (a *API) events(w http.ResponseWriter, r *http.Request) {
	if err := caller(r.Context()).Require(ops.MayRead); err != nil {
		writeProblem(w, http.StatusForbidden, err.Error())
		return
	}
	ctx := r.Context()
	at, err := a.Story.LastFact(ctx)
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		at, err = strconv.ParseInt(last, 10, 64)
	}
	if err != nil {
		writeProblem(w, http.StatusBadRequest, "Last-Event-ID is not a sequence number this server gave.")
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	out := http.NewResponseController(w)
	_ = out.SetWriteDeadline(time.Time{}) // a stream lasts; a test's recorder has no deadline
	poll := time.NewTicker(eventPoll)
	defer poll.Stop()
	quiet := a.Clock()
	_, _ = fmt.Fprint(w, ": open\n\n")
	for {
		facts, err := a.Story.FactsAfter(ctx, at, eventBatch)
		if err != nil {
			return
		}
		for _, f := range facts {
			b, err := json.Marshal(f)
			if err != nil {
				return
			}
			if _, err := fmt.Fprintf(w, "id: %d\nevent: fact\ndata: %s\n\n", f.Seq, b); err != nil {
				return
			}
			at, quiet = f.Seq, a.Clock()
		}
		if a.Clock().Sub(quiet) >= eventAlive {
			quiet = a.Clock()
			if _, err := fmt.Fprint(w, ": alive\n\n"); err != nil {
				return
			}
		}
		if out.Flush() != nil {
			return
		}
		if len(facts) == eventBatch {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
		}
	}
}
