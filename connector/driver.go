package connector

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/fettleops/fettle/ops"
)

// Section is a part of the configuration that only its driver understands. Decode
// reads it strictly into a pointer to a struct: an unknown key is an error with its line and the
// nearest known one. Defaults and Validate methods of the struct are called.
type Section interface {
	Decode(v any) error
}

// Settings is a platform's entry in the configuration, before its driver has
// read it. A nil section is an empty one.
type Settings struct {
	URL     string
	Auth    Section
	Options Section
}

// Config is a platform's entry as its driver understands it.
type Config[A, O any] struct {
	URL     string // checked: empty, or absolute http or https without user, query, fragment and trailing slash
	Auth    A
	Options O
}

// None is the section of a driver that takes no keys there.
type None struct{}

// Driver opens connections to one kind of platform.
type Driver struct {
	name  string
	check func(Settings) error
	open  func(context.Context, Settings, Env) (Platform, error)
}

// Define makes a driver from its open function. A and O are its sections auth
// and options.
func Define[A, O any](name string, open func(context.Context, Config[A, O], Env) (Platform, error)) Driver {
	decode := func(s Settings) (Config[A, O], error) {
		var c Config[A, O]
		var errs []error
		var err error
		if c.URL, err = checkURL(s.URL); err != nil {
			errs = append(errs, err)
		}
		errs = append(errs, decodeSection(s.Auth, &c.Auth), decodeSection(s.Options, &c.Options))
		return c, errors.Join(errs...)
	}
	return Driver{
		name:  name,
		check: func(s Settings) error { _, err := decode(s); return err },
		open: func(ctx context.Context, s Settings, env Env) (Platform, error) {
			c, err := decode(s)
			if err != nil {
				return nil, err
			}
			return open(ctx, c, env)
		},
	}
}

// Name returns the driver's name, as configurations use it.
func (d Driver) Name() string { return d.name }

// Validate says what is wrong with s, without I/O.
func (d Driver) Validate(s Settings) error { return d.check(s) }

func decodeSection(s Section, into any) error {
	if s != nil {
		return s.Decode(into)
	}
	if d, ok := into.(interface{ Defaults() }); ok {
		d.Defaults()
	}
	if v, ok := into.(interface{ Validate() error }); ok {
		return v.Validate()
	}
	return nil
}

func checkURL(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
		return "", fmt.Errorf("url is not an absolute http or https address; write it like https://example.com: %w", ops.ErrInvalid)
	case u.User != nil:
		return "", fmt.Errorf("url holds a user or password; put them under auth as secret references: %w", ops.ErrInvalid)
	case u.RawQuery != "" || u.Fragment != "":
		return "", fmt.Errorf("url %s has a query or fragment; leave them out: %w", u.Redacted(), ops.ErrInvalid)
	}
	for len(u.Path) > 0 && u.Path[len(u.Path)-1] == '/' {
		u.Path = u.Path[:len(u.Path)-1]
	}
	return u.String(), nil
}
