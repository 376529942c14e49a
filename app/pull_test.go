package app

import (
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/fettleops/fettle/config"
	"github.com/fettleops/fettle/internal/db/dbtest"
)

// offline is a network on which nobody answers.
type offline struct{}

func (offline) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("offline")
}

func TestAnIntegrationThatFetches(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	t.Setenv("AWS_CA_BUNDLE", "")
	load := func(text string) *config.Config {
		t.Helper()
		c, err := config.Load("fettle.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := load("integrations: [{name: aws, source: kinesis, options: {stream: metrics, region: eu-west-1}}]")
	if err := CheckConfig(c); err != nil {
		t.Errorf("no sender, no auth: %v", err)
	}
	if err := CheckConfig(load("integrations: [{name: prom, source: alertmanager}]")); err == nil || !strings.Contains(err.Error(), "auth: is missing") {
		t.Errorf("a sender without auth: %v", err)
	}
	a, err := New(t.Context(), Options{Config: c, DataDir: dbtest.Dir(t), Logger: slog.New(slog.DiscardHandler), Version: "test", Transport: offline{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	if !slices.ContainsFunc(a.loops, func(l loop) bool { return l.name == "integration aws" }) {
		t.Error("nobody runs it")
	}
	list, err := frontDoor{a}.Integrations(t.Context())
	if err != nil || len(list) != 1 || list[0].URL != "" || len(list[0].Findings) != 1 || !strings.Contains(list[0].Findings[0].What, "offline") {
		t.Errorf("%+v, %v", list, err)
	}
}
