package awsx

import (
	"bytes"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// whole gives the network a body that stays open. The SDK closes a request's
// body when it has the beginning of the answer; a network that has yet to read
// the body's end then drops the connection below the rest of that answer (see
// aws-sdk-go-v2 issue 2737), and what was done once counts as unknown.
type whole struct{ aws.HTTPClient }

func (w whole) Do(r *http.Request) (*http.Response, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return w.HTTPClient.Do(r)
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r = r.WithContext(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(b))
	return w.HTTPClient.Do(r)
}
