package httpx_test

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/fettleops/fettle/internal/httpx"
)

func TestGuardCheck(t *testing.T) {
	g := &httpx.Guard{}
	f := func(ip string, allowed bool) {
		t.Helper()
		err := g.Check("tcp", net.JoinHostPort(ip, "443"))
		if (err == nil) != allowed || err != nil && !errors.Is(err, httpx.ErrRefusedAddress) {
			t.Errorf("%s: %v, want allowed %v", ip, err, allowed)
		}
	}
	for _, ip := range []string{
		"127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1",
		"169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192",
		"224.0.0.1", "239.1.1.1", "255.255.255.255", "240.0.0.1", "198.18.0.1",
		"::", "::1", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "fc00::1", "ff02::1", "fec0::1", "2001:db8::1",
		"::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::a9fe:a9fe",
		"64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001::1",
	} {
		f(ip, false)
	}
	for _, ip := range []string{
		"1.1.1.1", "52.94.236.248", "172.15.0.1", "172.32.0.1", "100.63.0.1", "100.128.0.1", "168.63.129.17",
		"2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::1",
	} {
		f(ip, true)
	}
	g.Allow = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	f("10.1.2.3", true)
	f("::ffff:10.1.2.3", true)
	f("::1", true)
	f("127.0.0.1", false)

	for _, network := range []string{"unix", "udp"} {
		if err := g.Check(network, "1.1.1.1:1"); !errors.Is(err, httpx.ErrRefusedAddress) {
			t.Errorf("%s: %v", network, err)
		}
	}
	if err := g.Check("tcp", "name:80"); !errors.Is(err, httpx.ErrRefusedAddress) {
		t.Errorf("an unresolved name: %v", err)
	}
}

// TestGuardDials goes through the resolver and a real socket: the name is refused for
// where it leads, and the refusal is final.
func TestGuardDials(t *testing.T) {
	hits := 0
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits++ }))
	defer srv.Close()
	url := strings.Replace(srv.URL, "127.0.0.1", "localhost", 1)

	g := &httpx.Guard{}
	c := httpx.New(httpx.Options{Dial: g.DialContext})
	defer c.Close()
	_, err := c.Do(request(t, t.Context(), "GET", url, ""), httpx.Safe)
	var ue *httpx.Unanswered
	if !errors.Is(err, httpx.ErrRefusedAddress) || !errors.As(err, &ue) || ue.MayHaveArrived || hits != 0 {
		t.Errorf("%v, %d hits", err, hits)
	}

	open := &httpx.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}}
	c = httpx.New(httpx.Options{Dial: open.DialContext})
	defer c.Close()
	if resp, err := c.Do(request(t, t.Context(), "GET", url, ""), httpx.Safe); err != nil || resp.Status != 200 || hits != 1 {
		t.Errorf("%v, %d hits", err, hits)
	}
}
