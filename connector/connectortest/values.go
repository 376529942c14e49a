package connectortest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
)

// Values is a section of a configuration given as a map, by the names of the
// struct's yaml tags where it has any. Decode reads it as strictly as the
// configuration file is read.
type Values map[string]any

var _ connector.Section = Values(nil)

// Decode implements connector.Section.
func (v Values) Decode(into any) error {
	if d, ok := into.(interface{ Defaults() }); ok {
		d.Defaults()
	}
	b, err := json.Marshal(byFieldName(v, into))
	if err != nil {
		return fmt.Errorf("section: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("section: %w: %w", err, ops.ErrInvalid)
	}
	if check, ok := into.(interface{ Validate() error }); ok {
		return check.Validate()
	}
	return nil
}

// secretMap resolves the references of a harness.
type secretMap map[string]string

func (m secretMap) Resolve(_ context.Context, ref string) (string, error) {
	v, ok := m[ref]
	if !ok {
		return "", fmt.Errorf("secret %s is not set: %w", ref, ops.ErrInvalid)
	}
	return v, nil
}
