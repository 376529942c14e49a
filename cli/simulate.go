package cli

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/fettleops/fettle/connector/servicenow/simulator"
)

func newSimulate() *cobra.Command {
	return noun("simulate", "Run a simulated platform to try a set-up against", newSimulateServiceNow())
}

func newSimulateServiceNow() *cobra.Command {
	var listen, certOut string
	var useTLS, control bool
	var users []string
	c := &cobra.Command{
		Use:   "servicenow --listen ADDR [--tls]",
		Short: "Run a simulated ServiceNow instance",
		Long: `Run a simulated ServiceNow instance in memory: the Table API with its
oddities, OAuth, data policies. Users sign in with their name as password:
fettle, beth.anglin, abel.tuter, admin, or those of --user.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			now := time.Now //nolint:forbidigo // a simulator run by a person keeps the person's time; tests hand the package their own
			cfg := simulator.Config{Clock: now, Control: control}
			for _, u := range users {
				if cfg.Users == nil {
					cfg.Users = map[string]string{}
				}
				cfg.Users[u] = u
			}
			l, err := net.Listen("tcp", listen)
			if err != nil {
				return fmt.Errorf("listen on %s: %w", listen, err)
			}
			scheme := "http"
			if useTLS {
				scheme = "https"
				cert, certPEM, err := selfSigned(now(), l.Addr())
				if err != nil {
					return errors.Join(err, l.Close())
				}
				if certOut != "" {
					if err := os.WriteFile(certOut, certPEM, 0o644); err != nil {
						return errors.Join(err, l.Close())
					}
				}
				l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
			}
			fmt.Fprintf(cmd.OutOrStdout(), "simulated ServiceNow on %s://%s\n", scheme, l.Addr())
			return serveUntilDone(cmd.Context(), l, simulator.New(cfg))
		},
	}
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:8421", "address to listen on")
	c.Flags().BoolVar(&useTLS, "tls", false, "serve HTTPS with a certificate made for this run")
	c.Flags().StringVar(&certOut, "cert-out", "", "write that certificate to this file, for clients to trust")
	c.Flags().BoolVar(&control, "control", false, "let admins inject faults by POST /__simulator/faults")
	c.Flags().StringArrayVar(&users, "user", nil, "a user, with the name as password; may be repeated, replaces the built-in users")
	return c
}

// serveUntilDone serves h until ctx ends and then lets requests in hand finish.
func serveUntilDone(ctx context.Context, l net.Listener, h http.Handler) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return srv.Shutdown(last)
}

// selfSigned makes a certificate for localhost and the address, valid for a week.
func selfSigned(now time.Time, addr net.Addr) (tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	tpl := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "fettle simulator"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(7 * 24 * time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if tcp, ok := addr.(*net.TCPAddr); ok && !tcp.IP.IsUnspecified() {
		tpl.IPAddresses = append(tpl.IPAddresses, tcp.IP)
	}
	der, err := x509.CreateCertificate(rand.Reader, tpl, tpl, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, certPEM, nil
}
