package intake

import (
	"context"
	"crypto"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/ops"
)

const (
	// keysMaxAge is how long keys are used without asking again, so that a
	// withdrawn one ends.
	keysMaxAge = 24 * time.Hour
	// keysMinAge is how soon an unknown key id may make us ask again: anybody
	// can send one.
	keysMinAge = time.Minute
	// keysRetry is how soon we ask again after no answer.
	keysRetry = 5 * time.Second
)

// unreachableKey is the context key of an *error that keySet sets when it
// could not decide for want of keys. The verifier flattens errors to text.
type unreachableKey struct{}

// keySet is the RSA half of a JSON Web Key Set at a URL, cached. Unlike
// oidc.RemoteKeySet it limits how often strangers can make it fetch, and it
// fetches through our Fetcher.
type keySet struct {
	url   string
	fetch Fetcher
	clock clock.Clock

	mu     sync.RWMutex // guards the three below, held for reading them only
	keys   map[string]*rsa.PublicKey
	asked  time.Time // the last attempt
	gotten time.Time // the last success

	asking sync.Mutex // one question at a time
}

var _ oidc.KeySet = (*keySet)(nil)

// VerifySignature implements oidc.KeySet.
func (k *keySet) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	head, _, _ := strings.Cut(jwt, ".")
	raw, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		return nil, errors.New("the header is not base64")
	}
	var h struct {
		KeyID string `json:"kid"`
	}
	if err := json.Unmarshal(raw, &h); err != nil || h.KeyID == "" {
		return nil, errors.New("the header names no key")
	}
	key, err := k.key(ctx, h.KeyID)
	if err != nil {
		if out, ok := ctx.Value(unreachableKey{}).(*error); ok && errors.Is(err, ops.ErrUnavailable) {
			*out = err
		}
		return nil, err
	}
	return (&oidc.StaticKeySet{PublicKeys: []crypto.PublicKey{key}}).VerifySignature(ctx, jwt)
}

func (k *keySet) cached(id string) (key *rsa.PublicKey, fresh bool, asked, gotten time.Time) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.keys[id], k.clock().Sub(k.gotten) < keysMaxAge, k.asked, k.gotten
}

func (k *keySet) key(ctx context.Context, id string) (*rsa.PublicKey, error) {
	if key, fresh, _, _ := k.cached(id); key != nil && fresh {
		return key, nil
	}
	k.asking.Lock()
	defer k.asking.Unlock()
	key, fresh, asked, gotten := k.cached(id) // somebody may have asked meanwhile
	if key != nil && fresh {
		return key, nil
	}
	now := k.clock()
	failed := asked.After(gotten)
	switch {
	case failed && now.Sub(asked) < keysRetry:
		if key != nil {
			return key, nil
		}
		return nil, fmt.Errorf("no answer %s ago, asked again later: %w", now.Sub(asked).Round(time.Second), ops.ErrUnavailable)
	case !failed && !gotten.IsZero() && fresh && now.Sub(gotten) < keysMinAge:
		return nil, fmt.Errorf("no key %q", shorten(id))
	}
	keys, err := k.ask(ctx)
	k.mu.Lock()
	k.asked = now
	if err == nil {
		k.keys, k.gotten = keys, now
	}
	k.mu.Unlock()
	switch {
	case err == nil && keys[id] != nil:
		return keys[id], nil
	case err == nil:
		return nil, fmt.Errorf("no key %q", shorten(id))
	case key != nil:
		return key, nil // an old key is better than losing alerts while the directory is away
	}
	return nil, err
}

func (k *keySet) ask(ctx context.Context) (map[string]*rsa.PublicKey, error) {
	body, err := k.fetch.Fetch(ctx, k.url)
	if err != nil {
		return nil, err
	}
	var set struct {
		Keys []struct {
			Type string `json:"kty"`
			Use  string `json:"use"`
			ID   string `json:"kid"`
			N    string `json:"n"`
			E    string `json:"e"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, fmt.Errorf("the key set is not JSON: %w", ops.ErrUnavailable)
	}
	keys := map[string]*rsa.PublicKey{}
	for _, j := range set.Keys {
		n, errN := base64.RawURLEncoding.DecodeString(j.N)
		e, errE := base64.RawURLEncoding.DecodeString(j.E)
		if j.Type != "RSA" || j.Use != "" && j.Use != "sig" || j.ID == "" || errN != nil || errE != nil || len(n) < 256 || len(e) == 0 || len(e) > 4 {
			continue // not a key this door could use
		}
		keys[j.ID] = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("the key set holds no RSA key of 2048 bits or more: %w", ops.ErrUnavailable)
	}
	return keys, nil
}
