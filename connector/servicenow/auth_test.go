package servicenow_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/connector/connectortest"
	"github.com/fettleops/fettle/connector/servicenow"
	"github.com/fettleops/fettle/connector/servicenow/simulator"
	"github.com/fettleops/fettle/ops"
)

func user(name string) connectortest.Values {
	return connectortest.Values{"basic": map[string]any{"username": name, "password": "env:PASSWORD"}}
}

func (i *instance) userID(name string) string {
	for _, r := range i.sim.Records("sys_user") {
		if r["user_name"] == name {
			return r["sys_id"]
		}
	}
	i.t.Fatalf("no user %s", name)
	return ""
}

// tokens opens a connection that counts the grants it asks for.
func tokens(t *testing.T, i *instance, auth connector.Section) (*connection, *[]string) {
	t.Helper()
	s := i.settings(nil)
	s.Auth = auth
	c := i.open(t, s)
	grants := &[]string{}
	c.wire.each = func(req *http.Request, _ http.RoundTripper) (*http.Response, error) {
		if req.URL.Path != "/oauth_token.do" {
			return nil, nil
		}
		if req.URL.RawQuery != "" {
			t.Errorf("the token request has a query: %s", req.URL.RawQuery)
		}
		r, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(r)
		if err != nil {
			return nil, err
		}
		form, err := url.ParseQuery(string(b))
		if err != nil {
			return nil, err
		}
		*grants = append(*grants, form.Get("grant_type"))
		return nil, nil
	}
	return c, grants
}

func TestTokens(t *testing.T) {
	f := func(name string, auth connector.Section, wants string, change func(*simulator.Config), do func(t *testing.T, i *instance, look func())) {
		t.Run(name, func(t *testing.T) {
			i := start(t)
			if change != nil {
				i = start(t, change)
			}
			c, grants := tokens(t, i, auth)
			do(t, i, func() {
				t.Helper()
				if _, err := c.Find(t.Context(), strings.Repeat("0", 32)); err != nil {
					t.Error(err)
				}
			})
			if got := strings.Join(*grants, " "); got != wants {
				t.Errorf("grants asked for: %s; want %s", got, wants)
			}
		})
	}
	password := oauth("username", "fettle", "password", "env:PASSWORD")
	f("kept", password, "password", nil, func(_ *testing.T, i *instance, look func()) {
		look()
		i.wait(28 * time.Minute)
		look()
	})
	// 1799 s after it was issued it ends; a minute before that it is renewed.
	f("renewed early", password, "password refresh_token", nil, func(_ *testing.T, i *instance, look func()) {
		look()
		i.wait(29 * time.Minute)
		look()
		look()
	})
	f("revoked", password, "password refresh_token", nil, func(_ *testing.T, i *instance, look func()) {
		look()
		i.sim.RevokeTokens()
		look()
	})
	f("refresh token ended", password, "password refresh_token password", func(c *simulator.Config) { c.RefreshTokenLife = time.Hour },
		func(_ *testing.T, i *instance, look func()) {
			look()
			i.wait(2 * time.Hour)
			look()
		})
	f("client credentials", oauth(), "client_credentials client_credentials", nil, func(_ *testing.T, i *instance, look func()) {
		look()
		i.wait(time.Hour)
		look()
	})
}

func TestRefreshTokenByHand(t *testing.T) {
	i := start(t)
	resp, err := http.PostForm(i.url+"/oauth_token.do", url.Values{
		"grant_type": {"password"}, "username": {"fettle"}, "password": {secrets["env:PASSWORD"]},
		"client_id": {secrets["env:CLIENT"]}, "client_secret": {secrets["env:SECRET"]},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got struct {
		Refresh string `json:"refresh_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil || got.Refresh == "" {
		t.Fatalf("%+v, %v", got, err)
	}
	c, grants := tokens(t, i, oauth("refresh_token", "env:REFRESH"))
	handed := vault{"env:REFRESH": got.Refresh, "env:CLIENT": secrets["env:CLIENT"], "env:SECRET": secrets["env:SECRET"]}
	s := i.settings(nil)
	s.Auth = oauth("refresh_token", "env:REFRESH")
	conn, err := servicenow.Driver.Open(t.Context(), s, connector.Env{Name: "snow", Installation: "inst-1", Clock: i.clock, HTTP: c.wire, Secrets: handed})
	if err != nil {
		t.Fatal(err)
	}
	made, err := conn.Create(t.Context(), strings.Repeat("1", 32), ops.TicketIncident, fields())
	if err != nil || !made.Own || made.UpdatedBy != "fettle" || strings.Join(*grants, " ") != "refresh_token" {
		t.Errorf("%+v, %v, grants %v; the instance tells whose token it is", made, err, *grants)
	}
}

func TestUnknownSelf(t *testing.T) {
	i := start(t, func(c *simulator.Config) {
		c.HiddenRow = func(_, table string, _ simulator.Record) bool { return table == "sys_user" }
	})
	s := i.settings(nil)
	s.Auth = oauth()
	c := i.open(t, s)
	_, err := c.Create(t.Context(), strings.Repeat("1", 32), ops.TicketIncident, fields())
	c.fails(err, ops.ErrDenied, "which user these credentials belong to", "sys_user")
	c.fails(c.Check(t.Context()), ops.ErrDenied, "which user these credentials belong to")
	// A user name in the configuration is enough; the zone then is not checked.
	c = i.open(t, i.settings(nil))
	if made := c.create(fields()); !made.Own {
		t.Errorf("%+v is not ours", made)
	}
	c.start()
}

func TestRefusedGrants(t *testing.T) {
	f := func(name string, auth connector.Section, change func(*simulator.Config), says ...string) {
		t.Run(name, func(t *testing.T) {
			i := start(t, change)
			s := i.settings(nil)
			s.Auth = auth
			c := i.open(t, s)
			c.fails(c.Check(t.Context()), ops.ErrDenied, says...)
		})
	}
	f("client credentials off", oauth(), func(c *simulator.Config) { c.ClientCredentials = false }, "credential.grant_type.enabled")
	f("password hardened off", oauth("username", "fettle", "password", "env:PASSWORD"), func(c *simulator.Config) { c.NoPasswordGrant = true }, "hardened off")
	f("foreign scope", oauth("scope", "email"), func(*simulator.Config) {}, "useraccount")
	f("old refresh token", oauth("refresh_token", "env:REFRESH"), func(*simulator.Config) {}, "refresh token may have ended")
}

func TestCheckSaysWhatIsWrong(t *testing.T) {
	i := start(t)
	f := func(name string, want error, answer func(req *http.Request) (*http.Response, error), words ...string) {
		t.Run(name, func(t *testing.T) {
			c := i.open(t, i.settings(nil))
			c.T = t
			c.wire.each = func(req *http.Request, _ http.RoundTripper) (*http.Response, error) { return answer(req) }
			c.fails(c.Check(t.Context()), want, words...)
		})
	}
	f("no such host", ops.ErrUnavailable, func(req *http.Request) (*http.Response, error) { return nil, noHost(req.URL.Host) }, "look for a typing mistake")
	f("a login page", ops.ErrUnavailable, func(req *http.Request) (*http.Response, error) {
		return says(req, 200, "text/html", "<html>Sign in</html>"), nil
	}, "no login page in between")
	f("somebody else's server", ops.ErrUnavailable, func(req *http.Request) (*http.Response, error) {
		return says(req, 404, "text/html", "<html>Not here</html>"), nil
	}, "check that url is the instance")
	f("a redirect", ops.ErrUnavailable, func(req *http.Request) (*http.Response, error) {
		return says(req, 302, "application/json", "", "Location", "https://login.example.com/"), nil
	}, "302")
	f("missing role", ops.ErrDenied, func(req *http.Request) (*http.Response, error) {
		if !strings.HasSuffix(req.URL.Path, "/cmdb_ci") {
			return nil, nil
		}
		return says(req, 403, "application/json", `{"error":{"message":"Operation Failed","detail":"ACL Exception"},"status":"failure"}`), nil
	}, "without cmdb_ci no configuration item can be set", "role itil")
}

func TestTLS(t *testing.T) {
	i := start(t)
	s := i.settings(nil)
	s.URL = strings.Replace(i.url, "http://", "https://", 1)
	c := i.open(t, s)
	c.fails(c.Check(t.Context()), ops.ErrUnavailable, "does not speak TLS")
}

func TestOpenNeedsAnAddress(t *testing.T) {
	err := servicenow.Driver.Validate(connector.Settings{URL: "https://x.example.com", Auth: connectortest.Values{}})
	if err == nil || !strings.Contains(err.Error(), "exactly one of basic, oauth and api_key") {
		t.Errorf("%v", err)
	}
	_, err = servicenow.Driver.Open(t.Context(), connector.Settings{Auth: user("fettle")}, connector.Env{Name: "snow"})
	if err == nil || !strings.Contains(err.Error(), "url is missing") {
		t.Errorf("%v", err)
	}
}
