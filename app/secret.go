package app

import (
	"context"
	"errors"

	"github.com/fettleops/fettle/internal/redact"
	"github.com/fettleops/fettle/internal/secret"
	"github.com/fettleops/fettle/store/blob"
)

func resolve(ctx context.Context, ref secret.Ref) (redact.Secret, error) {
	return secret.Local{}.Resolve(ctx, ref)
}

// references resolves secrets for the drivers, which hold them as text.
type references struct{}

// Resolve returns the value a reference such as env:NAME points to.
func (references) Resolve(ctx context.Context, ref string) (string, error) {
	r, err := secret.Parse(ref)
	if err != nil {
		return "", err
	}
	s, err := resolve(ctx, r)
	if err != nil {
		return "", err
	}
	return s.Reveal(), nil
}

// signalSealer seals the bodies of the signal log under a label of their own.
type signalSealer struct{ blobs *blob.Blobs }

const signalLabel = "signal"

// Seal encrypts.
func (s signalSealer) Seal(plain []byte) []byte { return s.blobs.Seal(signalLabel, plain) }

// Open decrypts what Seal encrypted, and nothing else.
func (s signalSealer) Open(sealed []byte) ([]byte, error) {
	if len(sealed) == 0 {
		return nil, errors.New("sealed body is empty")
	}
	return s.blobs.Open(signalLabel, sealed)
}
