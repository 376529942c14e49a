package httpx

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// ErrRefusedAddress reports an address that Guard keeps requests away from.
var ErrRefusedAddress = errors.New("address refused")

// Guard decides where requests may go when the address came from outside, for
// example the SubscribeURL of a message. It looks at the address that is about to be
// connected, after every name was resolved, so that a name cannot change its mind
// between check and use.
//
// Refused are loopback, private, shared (100.64.0.0/10), link-local and multicast
// addresses, everything else that is not one machine on the internet, the metadata
// services of the clouds, and IPv6 forms that carry such an IPv4 address.
type Guard struct {
	// Allow lists prefixes that are let through although they are refused above.
	Allow []netip.Prefix
	// Dialer makes the connection; its ControlContext and Control are replaced.
	// Default: one with a timeout of 10 s.
	Dialer net.Dialer
}

var refused = func() []netip.Prefix {
	var out []netip.Prefix
	for _, s := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24",
		"203.0.113.0/24", "240.0.0.0/4",
		"168.63.129.16/32", // Azure's host: metadata and health, on a public address.
		"100::/64", "2001:db8::/32", "fec0::/10",
	} {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}()

var (
	nat64  = netip.MustParsePrefix("64:ff9b::/96")
	sixTo4 = netip.MustParsePrefix("2002::/16")
	teredo = netip.MustParsePrefix("2001::/32")
	// nat64Local has no fixed place for the IPv4 address.
	nat64Local = netip.MustParsePrefix("64:ff9b:1::/48")
)

// DialContext connects like net.Dialer does, or returns ErrRefusedAddress. Use it as
// Options.Dial. With a proxy it is the proxy's address that is checked: a guarded
// client needs Options.Proxy to be nil.
func (g *Guard) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	d := g.Dialer
	if d.Timeout == 0 {
		d.Timeout = 10 * time.Second
	}
	d.Control = nil
	d.ControlContext = func(_ context.Context, network, address string, _ syscall.RawConn) error {
		return g.Check(network, address)
	}
	return d.DialContext(ctx, network, address)
}

// Check reports whether a resolved address, IP:port, may be connected.
func (g *Guard) Check(network, address string) error {
	switch network {
	case "tcp", "tcp4", "tcp6":
	default:
		return fmt.Errorf("%w: network %s", ErrRefusedAddress, network)
	}
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefusedAddress, err)
	}
	ip := ap.Addr().Unmap().WithZone("")
	for _, p := range g.Allow {
		if p.Contains(ip) {
			return nil
		}
	}
	if why := special(ip); why != "" {
		return fmt.Errorf("%w: %s is %s", ErrRefusedAddress, ip, why)
	}
	return nil
}

// special says why ip is not one machine on the internet, or "".
func special(ip netip.Addr) string {
	switch {
	case !ip.IsValid() || ip.IsUnspecified():
		return "unspecified"
	case ip.IsLoopback():
		return "loopback"
	case ip.IsPrivate():
		return "private"
	case ip.IsLinkLocalUnicast():
		return "link-local"
	case ip.IsMulticast():
		return "multicast"
	case nat64Local.Contains(ip) || teredo.Contains(ip):
		return "a tunnel"
	}
	for _, p := range refused {
		if p.Contains(ip) {
			return "reserved (" + p.String() + ")"
		}
	}
	b := ip.As16()
	switch {
	case !ip.Is6():
	case nat64.Contains(ip):
		return special(netip.AddrFrom4([4]byte(b[12:16])))
	case sixTo4.Contains(ip):
		return special(netip.AddrFrom4([4]byte(b[2:6])))
	case b[0]|b[1]|b[2]|b[3]|b[4]|b[5]|b[6]|b[7]|b[8]|b[9]|b[10]|b[11] == 0:
		// ::a.b.c.d, deprecated and never a peer.
		return "IPv4-compatible"
	}
	return ""
}

// isRefused reports an attempt that would be refused again.
func isRefused(err error) bool {
	return errors.Is(err, ErrRefusedAddress) || errors.Is(err, ErrRedirect)
}
