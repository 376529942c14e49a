package app

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"

	"github.com/fettleops/fettle/intake/otlp"
)

// calls is the front door's second listener, for metrics over gRPC. Nil is
// none: it serves nothing and ends at once.
type calls struct {
	server   *otlp.Server
	listener net.Listener
}

// listenGRPC listens where the configuration says, if it does.
func (a *App) listenGRPC(ctx context.Context, secure *tls.Config) (*calls, error) {
	l, address := a.ListenerGRPC, a.Config.Server.ListenGRPC
	switch {
	case l == nil && address == "":
		return nil, nil
	case l == nil:
		var err error
		var lc net.ListenConfig
		if l, err = lc.Listen(ctx, "tcp", address); err != nil {
			return nil, fmt.Errorf("listen on %s for gRPC: %w", address, err)
		}
	}
	a.Logger.LogAttrs(ctx, slog.LevelInfo, "listening for gRPC", slog.String("address", l.Addr().String()), slog.Bool("tls", secure != nil))
	return &calls{server: otlp.NewServer(a.Door, secure), listener: l}, nil
}

func (c *calls) serve() error {
	if c == nil {
		return nil
	}
	return c.server.Serve(c.listener)
}

func (c *calls) shutdown(ctx context.Context) error {
	if c == nil {
		return nil
	}
	return c.server.Shutdown(ctx)
}

// close lets go of a listener that was never served.
func (c *calls) close() error {
	if c == nil {
		return nil
	}
	return c.listener.Close()
}
