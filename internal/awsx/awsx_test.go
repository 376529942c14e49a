package awsx_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/internal/awsx/awsxtest"
	"github.com/fettleops/fettle/ops"
)

func TestConfigSaysWhatIsWrong(t *testing.T) {
	f := func(c awsx.Config, want string) {
		t.Helper()
		err := c.Validate()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, ops.ErrInvalid)) {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
	f(awsx.Config{}, "")
	f(awsx.Config{Region: "eu-central-1", Role: "arn:aws:iam::123456789012:role/fettle", ExternalID: "x", Endpoint: "http://127.0.0.1:5000"}, "")
	f(awsx.Config{Role: "fettle"}, "role")
	f(awsx.Config{ExternalID: "x"}, "external_id")
	f(awsx.Config{Endpoint: "127.0.0.1:5000"}, "endpoint")
	f(awsx.Config{Endpoint: "https://user:secret@host"}, "endpoint")
}

// call asks a server that always gives one answer who we are.
func call(t *testing.T, status int, code string) error {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/xml")
		w.WriteHeader(status)
		_, _ = w.Write([]byte("<ErrorResponse><Error><Type>Sender</Type><Code>" + code + "</Code><Message>m</Message></Error></ErrorResponse>"))
	}))
	defer s.Close()
	return ask(t, s.URL)
}

func ask(t *testing.T, endpoint string) error {
	t.Helper()
	cfg, err := awsx.Open(t.Context(), awsx.Config{Region: "eu-central-1", Endpoint: endpoint}, awsx.Env{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = sts.NewFromConfig(cfg, func(o *sts.Options) { o.Retryer = awsx.Once }).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	return err
}

func TestAnswersBecomeClasses(t *testing.T) {
	awsxtest.Credentials(t)
	f := func(status int, code string, want error, unknown bool) {
		t.Helper()
		err := awsx.Write("ask", call(t, status, code))
		var u *ops.UnknownOutcome
		if !errors.Is(err, want) || errors.As(err, &u) != unknown {
			t.Errorf("%d %s: %v, want %v, unknown %v", status, code, err, want, unknown)
		}
		if err := awsx.Read("ask", call(t, status, code)); errors.As(err, &u) {
			t.Errorf("reading with %d %s leaves an outcome unknown: %v", status, code, err)
		}
	}
	f(400, "Throttling", ops.ErrThrottled, false)
	f(403, "AccessDenied", ops.ErrDenied, false)
	f(403, "SomethingElse", ops.ErrDenied, false)
	f(400, "ChangeSetNotFound", ops.ErrNotFound, false)
	f(400, "AlreadyExistsException", ops.ErrConflict, false)
	f(400, "ValidationError", ops.ErrInvalid, false)
	f(500, "InternalFailure", ops.ErrUnavailable, true)
	f(502, "", ops.ErrUnavailable, true)
	if err := awsx.Write("ask", nil); err != nil {
		t.Errorf("no error became %v", err)
	}
}

func TestWhatWasNeverSentIsKnown(t *testing.T) {
	awsxtest.Credentials(t)
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	err := awsx.Write("ask", ask(t, s.URL))
	if !errors.Is(err, ops.ErrUnavailable) || errors.As(err, new(*ops.UnknownOutcome)) {
		t.Errorf("a refused connection: %v", err)
	}
}

func TestARegionIsNeeded(t *testing.T) {
	awsxtest.Credentials(t)
	if _, err := awsx.Open(t.Context(), awsx.Config{}, awsx.Env{}); !errors.Is(err, ops.ErrInvalid) || !strings.Contains(err.Error(), "region") {
		t.Errorf("no region: %v", err)
	}
}

// A bundle of certificates in the environment, which the library takes for its
// own network, does not keep ours from being used.
func TestABundleOfCertificatesIsNoHindrance(t *testing.T) {
	awsxtest.Credentials(t)
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CA_BUNDLE", file)
	sent := 0
	ours := tripper(func(*http.Request) (*http.Response, error) { sent++; return nil, errors.New("no network") })
	cfg, err := awsx.Open(t.Context(), awsx.Config{Region: "eu-central-1"}, awsx.Env{Transport: ours})
	if err != nil {
		t.Fatal(err)
	}
	_, err = sts.NewFromConfig(cfg, func(o *sts.Options) { o.Retryer = awsx.Once }).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err == nil || sent != 1 {
		t.Errorf("%v, sent %d times over our network", err, sent)
	}
}

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A network may still read what is sent while the answer comes in.
func TestWhatIsSentStaysOpenBelowTheAnswer(t *testing.T) {
	awsxtest.Credentials(t)
	const identity = `<GetCallerIdentityResponse><GetCallerIdentityResult><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`
	slow := tripper(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: &below{sent: r.Body, Reader: strings.NewReader(identity)}}, nil
	})
	cfg, err := awsx.Open(t.Context(), awsx.Config{Region: "eu-central-1"}, awsx.Env{Transport: slow})
	if err != nil {
		t.Fatal(err)
	}
	out, err := sts.NewFromConfig(cfg, func(o *sts.Options) { o.Retryer = awsx.Once }).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil || *out.Account != "123456789012" {
		t.Errorf("%+v, %v", out, err)
	}
}

// below is an answer below which the request is still being sent.
type below struct {
	io.Reader
	sent io.ReadCloser
}

func (b *below) Read(p []byte) (int, error) {
	if _, err := io.Copy(io.Discard, b.sent); err != nil {
		return 0, fmt.Errorf("send the rest of the request: %w", err)
	}
	return b.Reader.Read(p)
}

func (b *below) Close() error { return b.sent.Close() }

func TestARoleIsAssumedWithItsExternalID(t *testing.T) {
	awsxtest.Credentials(t)
	var form string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		if r.Form.Get("Action") == "AssumeRole" {
			form = r.Form.Encode()
		}
		w.WriteHeader(http.StatusForbidden)
	}))
	defer s.Close()
	c := awsx.Config{Region: "eu-central-1", Endpoint: s.URL, Role: "arn:aws:iam::123456789012:role/fettle", ExternalID: "env:ID"}
	cfg, err := awsx.Open(t.Context(), c, awsx.Env{Session: "cfn", Secret: func(_ context.Context, ref string) (string, error) { return "of " + ref, nil }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = sts.NewFromConfig(cfg).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}); err == nil {
		t.Fatal("a refused role was used")
	}
	for _, want := range []string{"RoleSessionName=fettle-cfn", "ExternalId=of+env%3AID", "role%2Ffettle"} {
		if !strings.Contains(form, want) {
			t.Errorf("%q is not in %q", want, form)
		}
	}
}
