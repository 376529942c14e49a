package parameter_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/fettleops/fettle/execute/parameter"
	"github.com/fettleops/fettle/execute/parameter/parametertest"
	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/internal/awsx/awsxtest"
	"github.com/fettleops/fettle/internal/db/dbtest"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/internal/record"
	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/store"
)

func config(t *testing.T, url string) aws.Config {
	t.Helper()
	awsxtest.Credentials(t)
	cfg, err := awsx.Open(t.Context(), awsx.Config{Region: "eu-central-1", Endpoint: url}, awsx.Env{})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// service returns a strict Parameter Store and a repository on it.
func service(t *testing.T) (*parametertest.Service, *parameter.SSM) {
	t.Helper()
	s := new(parametertest.Service)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, parameter.NewSSM(config(t, server.URL))
}

func TestEmbedded(t *testing.T) {
	parametertest.Run(t, "/fettle", parameter.NewRecords(new(record.Memory), time.Now))
}

func TestEmbeddedInTheDatabase(t *testing.T) {
	d := dbtest.Laid(store.Migrate).Open(t)
	parametertest.Run(t, "/fettle", parameter.NewRecords(store.New(d, time.Now).Records("parameter"), time.Now))
}

func TestParameterStore(t *testing.T) {
	_, r := service(t)
	parametertest.Run(t, "/fettle", r)
}

func TestParameterStoreAgainstMoto(t *testing.T) {
	peer.Long(t)
	parametertest.Run(t, "/fettle", parameter.NewSSM(config(t, peer.Moto(t))))
}

func TestAnOverwrittenValueIsPutBack(t *testing.T) {
	s, r := service(t)
	const key = "/densify/iaas/ec2/i-1/instanceType"
	s.Set(key, "m5.large", time.Now())
	once := true
	s.Before = func(operation string) {
		if operation == "PutParameter" && once {
			once = false
			s.Set(key, "of-somebody-else", time.Now())
		}
	}
	_, err := r.Put(t.Context(), parameter.Edit{Key: key, Value: "m5.xlarge", Version: 1, Token: "t"})
	if !errors.Is(err, ops.ErrConflict) {
		t.Errorf("a write that came second: %v", err)
	}
	if v, _ := s.Value(key); v != "of-somebody-else" {
		t.Errorf("%q stands", v)
	}
}

func TestAValueTheServiceDropsLaterIsNoSuccess(t *testing.T) {
	_, r := service(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	parameter.Hurry(r)
	_, err := r.Put(ctx, parameter.Edit{Key: "/a", Value: "not-an-image", DataType: "aws:ec2:image", Token: "t"})
	if !errors.Is(err, ops.ErrStalled) || !strings.Contains(err.Error(), "data type") {
		t.Errorf("got %v", err)
	}
}

func TestASecretIsNeitherReadNorWritten(t *testing.T) {
	s, r := service(t)
	client := ssm.NewFromConfig(config(t, serve(t, s)))
	if _, err := client.PutParameter(t.Context(), &ssm.PutParameterInput{Name: aws.String("/pw"), Value: aws.String("hunter2"), Type: types.ParameterTypeSecureString}); err != nil {
		t.Fatal(err)
	}
	if p, err := r.Get(t.Context(), "/pw"); err != nil || p.Value != "" || p.Kind != parameter.Secure {
		t.Errorf("got %+v, %v", p, err)
	}
	if _, err := r.Put(t.Context(), parameter.Edit{Key: "/pw", Value: "x", Version: 1, Token: "t"}); !errors.Is(err, ops.ErrInvalid) {
		t.Errorf("put: %v", err)
	}
}

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

// TestTheDoubleRefuses proves that the double is as strict as the service.
func TestTheDoubleRefuses(t *testing.T) {
	s, _ := service(t)
	s.Set("/k", "v", time.Now())
	f := func(operation string, in map[string]any, code string) {
		t.Helper()
		_, bad, known := s.Do(operation, in)
		if !known || bad == nil || bad.Code != code {
			t.Errorf("%s %v: %+v, want %s", operation, in, bad, code)
		}
	}
	type m = map[string]any
	f("PutParameter", m{"Name": "/k", "Value": "w", "Type": "String"}, "ParameterAlreadyExists")
	f("PutParameter", m{"Name": "/aws/k", "Value": "w", "Type": "String"}, "ValidationException")
	f("PutParameter", m{"Name": "/new", "Value": "w"}, "ValidationException")
	f("PutParameter", m{"Name": "/new", "Value": "", "Type": "String"}, "ValidationException")
	f("PutParameter", m{"Name": "/new", "Value": strings.Repeat("x", 4097), "Type": "String"}, "ValidationException")
	f("PutParameter", m{"Name": "/k", "Value": "w", "Overwrite": true, "Tags": []any{m{"Key": "a", "Value": "b"}}}, "ValidationException")
	f("PutParameter", m{"Name": "/k", "Value": "w", "Overwrite": true, "Type": "StringList"}, "ValidationException")
	f("PutParameter", m{"Name": strings.Repeat("/a", 16), "Value": "w", "Type": "String"}, "HierarchyLevelLimitExceededException")
	f("GetParameter", m{"Name": "/none"}, "ParameterNotFound")
	f("GetParameterHistory", m{"Name": "/none"}, "ParameterNotFound")
	f("GetParameterHistory", m{"Name": "/k", "MaxResults": 51.0}, "ValidationException")
	f("GetParametersByPath", m{"Path": "/", "MaxResults": 11.0}, "ValidationException")
	f("LabelParameterVersion", m{"Name": "/k", "ParameterVersion": 2.0, "Labels": []any{"a"}}, "ParameterVersionNotFound")
	f("DeleteParameter", m{"Name": "/none"}, "ParameterNotFound")
	if out, bad, _ := s.Do("LabelParameterVersion", m{"Name": "/k", "ParameterVersion": 1.0, "Labels": []any{"1st", "awsome"}}); bad != nil || len(out.(m)["InvalidLabels"].([]string)) != 2 {
		t.Errorf("invalid labels: %v, %v", out, bad)
	}
}

func TestADirectoryPrefersTheRegionNamed(t *testing.T) {
	awsxtest.Credentials(t)
	in := func(region, value string) parameter.Account {
		s := new(parametertest.Service)
		s.Set("/k", value, time.Now())
		return parameter.Account{Account: "123456789012", Config: awsx.Config{Region: region, Endpoint: serve(t, s)}}
	}
	rest := parameter.NewRecords(new(record.Memory), time.Now)
	if _, err := rest.Put(t.Context(), parameter.Edit{Key: "/k", Value: "embedded", Token: "t"}); err != nil {
		t.Fatal(err)
	}
	d, err := parameter.NewDirectory([]parameter.Account{in("", "any"), in("eu-central-1", "frankfurt")}, awsx.Env{}, rest)
	if err != nil {
		t.Fatal(err)
	}
	f := func(account, region, want string) {
		t.Helper()
		for range 2 {
			r, err := d.At(t.Context(), account, region)
			if err != nil {
				t.Fatal(err)
			}
			if p, err := r.Get(t.Context(), "/k"); err != nil || p.Value != want {
				t.Errorf("%s %s: %q, %v", account, region, p.Value, err)
			}
		}
	}
	f("123456789012", "eu-central-1", "frankfurt")
	f("123456789012", "us-east-1", "any")
	f("999999999999", "us-east-1", "embedded")

	_, err = parameter.NewDirectory([]parameter.Account{{Account: "1"}, in("", ""), in("", "")}, awsx.Env{}, rest)
	if err == nil || !strings.Contains(err.Error(), "twelve digits") || !strings.Contains(err.Error(), "twice") {
		t.Errorf("got %v", err)
	}
}

func TestKeysOfICCO(t *testing.T) {
	f := func(key, want string) {
		t.Helper()
		service, resource, attribute, ok := parameter.ParseKey(key)
		got := strings.Join([]string{service, resource, attribute}, " ")
		if ok != (want != "") || ok && got != want {
			t.Errorf("%s: %q, %v", key, got, ok)
		}
	}
	typ, low, high := parameter.ASGKeys("web")
	f(parameter.EC2Key("i-1"), "ec2 i-1 instanceType")
	f(parameter.RDSKey("shop"), "rds shop dbInstanceClass")
	f(typ, "asg web instanceType")
	f(low, "asg web minSize")
	f(high, "asg web maxSize")
	f("/densify/iaas/ec2/i-1", "")
	f("/densify/iaas/ec2//instanceType", "")
	f("/other/iaas/ec2/i-1/instanceType", "")
	if parameter.EC2Key("i-1") != "/densify/iaas/ec2/i-1/instanceType" {
		t.Error(parameter.EC2Key("i-1"))
	}
}

func TestTags(t *testing.T) {
	s, r := service(t)
	const key = "/densify/iaas/ec2/i-1/instanceType"
	if _, err := r.Tags(t.Context(), key); !errors.Is(err, ops.ErrNotFound) {
		t.Errorf("of a key that is not there: %v", err)
	}
	s.Set(key, "m5.large", time.Now())
	s.Tag(key, map[string]string{"recommendedType": "m5.xlarge"})
	if tags, err := r.Tags(t.Context(), key); err != nil || len(tags) != 1 || tags["recommendedType"] != "m5.xlarge" {
		t.Errorf("%v, %v", tags, err)
	}
}
