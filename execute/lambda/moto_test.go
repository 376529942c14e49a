package lambda_test

import (
	"archive/zip"
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	aws_lambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/execute/executetest"
	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/internal/awsx/awsxtest"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/ops"
)

// TestAgainstMoto invokes a function of a server that is not ours. Without
// Docker it runs no code and answers with the payload, which is what a verifying
// function that is sent {"ok": true} would say.
func TestAgainstMoto(t *testing.T) {
	peer.Long(t)
	base := peer.Moto(t)
	awsxtest.Credentials(t)
	post := func(path, kind, body, service string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", kind)
		req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x/20261122/eu-central-1/"+service+"/aws4_request")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if b, _ := io.ReadAll(resp.Body); resp.StatusCode >= 300 {
			t.Fatalf("%s: %d %s", path, resp.StatusCode, b)
		}
	}
	post("/moto-api/config", "application/json", `{"lambda": {"use_docker": false}}`, "moto")
	post("/", "application/x-www-form-urlencoded", url.Values{"Action": {"CreateRole"}, "Version": {"2010-05-08"}, "RoleName": {"r"}, "AssumeRolePolicyDocument": {"{}"}}.Encode(), "iam")
	cfg, err := awsx.Open(t.Context(), awsx.Config{Region: "eu-central-1", Endpoint: base}, awsx.Env{})
	if err != nil {
		t.Fatal(err)
	}
	code := func(body string) []byte {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		w, err := z.Create("main.py")
		if err == nil {
			_, err = io.WriteString(w, body)
		}
		if err != nil || z.Close() != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	functions := aws_lambda.NewFromConfig(cfg)
	_, err = functions.CreateFunction(t.Context(), &aws_lambda.CreateFunctionInput{
		FunctionName: aws.String("echo"), Role: aws.String("arn:aws:iam::123456789012:role/r"), Runtime: types.RuntimePython312, Handler: aws.String("main.f"), Publish: true,
		Code: &types.FunctionCode{ZipFile: code("def f(e, c): return e")},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = functions.CreateAlias(t.Context(), &aws_lambda.CreateAliasInput{FunctionName: aws.String("echo"), Name: aws.String("live"), FunctionVersion: aws.String("1")})
	if err != nil {
		t.Fatal(err)
	}
	x := open(t, "region: eu-central-1\nendpoint: "+base+`
invokes:
- {name: act, function: echo, qualifier: live, payload: {ok: true, size: large}, verify: check, rollback: check}
- {name: check, function: echo, payload: {ok: true}}
`, executetest.NewMarks())
	p, err := x.Plan(t.Context(), execute.Request{Change: ops.Change{ID: "c", Action: "invoke", Args: []string{"act"}}})
	if err != nil {
		t.Fatal(err)
	}
	has(t, p.Text, "version 1", "code "+p.Actions[0].After["code"], `{"ok":true,"size":"large"}`)
	var out strings.Builder
	if _, err := x.Apply(t.Context(), "t", p, &out); err != nil {
		t.Fatalf("apply: %v, said %s", err, out.String())
	}
	has(t, out.String(), `"size"`)
	if d, err := x.Drift(t.Context(), p); d != execute.InSync || err != nil {
		t.Errorf("drift: %s, %v", d, err)
	}
	if _, err := x.RollBack(t.Context(), "t", p, io.Discard); err != nil {
		t.Errorf("roll back: %v", err)
	}
	_, err = functions.UpdateFunctionCode(t.Context(), &aws_lambda.UpdateFunctionCodeInput{FunctionName: aws.String("echo"), ZipFile: code("def f(e, c): return 1"), Publish: true})
	if err != nil {
		t.Fatal(err)
	}
	_, err = functions.UpdateAlias(t.Context(), &aws_lambda.UpdateAliasInput{FunctionName: aws.String("echo"), Name: aws.String("live"), FunctionVersion: aws.String("2")})
	if err != nil {
		t.Fatal(err)
	}
	if d, err := x.Drift(t.Context(), p); d != execute.Drifted || err != nil {
		t.Errorf("drift of other code: %s, %v", d, err)
	}
}
