package otlp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/encoding/gzip" // the compression every sender may use
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/ops"
)

// Door is what a Server hands deliveries to: an *intake.Door.
type Door interface {
	// Admits is nil when an integration of the source lets the header pass as far
	// as a header alone can decide, and otherwise of class ErrDenied or
	// ErrNotFound.
	Admits(ctx context.Context, source string, header http.Header) error
	// DeliverAs takes a delivery for the integration the header opens.
	DeliverAs(ctx context.Context, source string, header http.Header, media string, body []byte) (intake.Answer, error)
}

// Server serves opentelemetry.proto.collector.metrics.v1.MetricsService over
// gRPC and nothing else, no reflection either. A sender is authenticated by its
// metadata, before its message is read, and its delivery goes to the integration
// of the source otlp that its credential opens.
type Server struct {
	grpc *grpc.Server
	door Door
}

// The limits of a connection. Whoever has no credential can make the server
// keep a window of each stream and no message.
const (
	maxStreams    = 32
	maxMetadata   = 64 << 10
	handshake     = 10 * time.Second
	idle          = 2 * time.Minute
	leastPingTime = 10 * time.Second
	retryAfter    = 5 * time.Second // where the door does not say
)

// NewServer makes a Server. A nil TLS configuration is none.
func NewServer(door Door, secure *tls.Config) *Server {
	s := &Server{door: door}
	options := []grpc.ServerOption{
		grpc.ForceServerCodecV2(rawCodec{}),
		grpc.MaxRecvMsgSize(MaxMessage),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxHeaderListSize(maxMetadata),
		grpc.ConnectionTimeout(handshake),
		grpc.WaitForHandlers(true),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: idle}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: leastPingTime, PermitWithoutStream: true}),
	}
	if secure != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(secure)))
	}
	s.grpc = grpc.NewServer(options...)
	// On the wire a call with one message is a stream of one message; as a stream
	// the handler sees the metadata before the message is read.
	s.grpc.RegisterService(&grpc.ServiceDesc{
		ServiceName: "opentelemetry.proto.collector.metrics.v1.MetricsService",
		HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{StreamName: "Export", ClientStreams: true, Handler: func(_ any, stream grpc.ServerStream) error {
			return s.export(stream)
		}}},
	}, nil)
	return s
}

// Serve answers on the listener, which it closes, until Shutdown.
func (s *Server) Serve(l net.Listener) error {
	if err := s.grpc.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("otlp: serve gRPC on %s: %w", l.Addr(), err)
	}
	return nil
}

// Shutdown takes no new calls and waits for those in hand, or until ctx ends,
// which it returns as an error after it has cut them off.
func (s *Server) Shutdown(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.grpc.GracefulStop()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		s.grpc.Stop()
		<-done
		return fmt.Errorf("otlp: calls in hand were cut off: %w", ctx.Err())
	}
}

// denied is all that anybody without a credential learns.
var denied = status.Error(codes.Unauthenticated, "send the credential of an integration with the source otlp as metadata")

func (s *Server) export(stream grpc.ServerStream) error {
	ctx := stream.Context()
	header := headerOf(ctx)
	if err := s.door.Admits(ctx, Driver.Name, header); err != nil {
		return denied
	}
	var in raw
	defer in.free()
	switch err := stream.RecvMsg(&in); {
	case errors.Is(err, io.EOF):
		return status.Error(codes.InvalidArgument, "send a "+message)
	case err != nil: // the library has told the sender
		return err
	}
	answer, err := s.door.DeliverAs(ctx, Driver.Name, header, protobuf, in.body)
	switch {
	case err == nil:
		return stream.SendMsg(&raw{body: answer.Body})
	case answer.Status != 0:
		var told rpcstatus.Status
		if proto.Unmarshal(answer.Body, &told) == nil && told.Code != int32(codes.OK) {
			return status.FromProto(&told).Err()
		}
	case errors.Is(err, ops.ErrDenied), errors.Is(err, ops.ErrNotFound):
		return denied
	}
	return unavailable()
}

// unavailable is a failure of ours that has no answer of its own.
func unavailable() error {
	s := status.New(codes.Unavailable, "send the same again; nothing was stored")
	if told, err := s.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(retryAfter)}); err == nil {
		s = told
	}
	return s.Err()
}

// headerOf makes a header of metadata.
func headerOf(ctx context.Context) http.Header {
	md, _ := metadata.FromIncomingContext(ctx)
	h := make(http.Header, len(md))
	for key, values := range md {
		if strings.HasPrefix(key, ":") || strings.HasSuffix(key, "-bin") {
			continue
		}
		h[textproto.CanonicalMIMEHeaderKey(key)] = values
	}
	return h
}

// raw is a message that stays as it is.
type raw struct {
	body   []byte
	buffer mem.Buffer
}

func (r *raw) free() {
	if r.buffer != nil {
		r.buffer.Free()
		r.buffer, r.body = nil, nil
	}
}

// rawCodec leaves decoding to the door, which counts and bounds it.
type rawCodec struct{}

// Name implements encoding.CodecV2.
func (rawCodec) Name() string { return "proto" }

// Marshal implements encoding.CodecV2.
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	r, ok := v.(*raw)
	if !ok {
		return nil, fmt.Errorf("otlp: %T on the wire: %w", v, ops.ErrInternal)
	}
	return mem.BufferSlice{mem.SliceBuffer(r.body)}, nil
}

// Unmarshal implements encoding.CodecV2.
func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	r, ok := v.(*raw)
	if !ok {
		return fmt.Errorf("otlp: %T on the wire: %w", v, ops.ErrInternal)
	}
	r.buffer = data.MaterializeToBuffer(mem.DefaultBufferPool())
	r.body = r.buffer.ReadOnlyData()
	return nil
}
