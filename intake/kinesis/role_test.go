package kinesis_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/internal/lease"
	"github.com/fettleops/fettle/series/seriestest"
)

// guardedService gives out credentials of a role to who knows its external id,
// and lets nobody else at the stream.
type guardedService struct {
	*service
	asked url.Values
}

func (g *guardedService) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := func(status int, body string) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"text/xml"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	}
	if strings.HasPrefix(r.URL.Host, "sts.") {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		if g.asked, err = url.ParseQuery(string(body)); err != nil {
			return nil, err
		}
		if g.asked.Get("ExternalId") != "the-external-id" {
			return answer(http.StatusForbidden, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not authorized</Message></Error></ErrorResponse>`)
		}
		return answer(http.StatusOK, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials><AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>`+
			time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`)
	}
	if !strings.Contains(r.Header.Get("Authorization"), "Credential=ASIAROLE/") {
		return answer(http.StatusBadRequest, `{"__type":"AccessDeniedException","message":"only the role may"}`)
	}
	return g.service.RoundTrip(r)
}

func TestTheRoleIsAssumedWithItsExternalID(t *testing.T) {
	credentials(t)
	const role = "arn:aws:iam::123456789012:role/reader"
	f := func(extra, say string) {
		t.Helper()
		g := &guardedService{service: newService(1)}
		w := &world{t: t, network: g, leases: new(lease.Memory), samples: seriestest.NewLog(), options: "{stream: metrics, region: eu-west-1" + extra + "}"}
		logs := new(lockedBuffer)
		found := intake.Diagnose(t.Context(), w.doorOptions(&server{logs: logs}, "a"), intake.Listener{})
		said := logs.String()
		for _, x := range found {
			said += x.What + x.Fix
		}
		if (say == "") != (len(found) == 0) || !strings.Contains(said, say) || strings.Contains(said, "the-external-id") {
			t.Errorf("%s: %s, want %q", extra, said, say)
		}
		if strings.Contains(extra, "role") && (g.asked.Get("RoleArn") != role || g.asked.Get("RoleSessionName") != "fettle-metrics") {
			t.Errorf("asked for %v", g.asked)
		}
	}
	f(`, role: "`+role+`", external_id: env:ID`, "")
	f(`, role: "`+role+`", external_id: the-external-id`, "")
	f(`, role: "`+role+`", external_id: other`, "AccessDenied")
	f(`, role: "`+role+`"`, "AccessDenied")
	f("", "AccessDenied")
}
