package parameter

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"

	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/ops"
)

// Account says how the Parameter Store of one account is reached.
type Account struct {
	awsx.Config `yaml:",inline"`
	// Account is the twelve digits of the account. Required.
	Account string `yaml:"account"`
}

var accountPattern = regexp.MustCompile(`^\d{12}$`)

// Validate returns what is wrong with the account's part of the configuration.
func (a *Account) Validate() error {
	if !accountPattern.MatchString(a.Account) {
		return fmt.Errorf("account %q: write its twelve digits, in quotes: %w", a.Account, ops.ErrInvalid)
	}
	return a.Config.Validate()
}

// Directory finds the repository of a resource. Make it with NewDirectory.
type Directory struct {
	accounts []Account
	env      awsx.Env
	rest     Repository

	mu   sync.Mutex
	open map[place]Repository
}

type place struct{ account, region string }

// NewDirectory returns the directory of these accounts. An account without a
// region stands for all its regions; rest takes every resource in none of them.
func NewDirectory(accounts []Account, env awsx.Env, rest Repository) (*Directory, error) {
	var faults []error
	seen := map[place]bool{}
	for i := range accounts {
		a := &accounts[i]
		at := place{a.Account, a.Region}
		if err := a.Validate(); err != nil {
			faults = append(faults, fmt.Errorf("accounts[%d]: %w", i, err))
		} else if seen[at] {
			faults = append(faults, fmt.Errorf("accounts[%d]: account %s with region %q is there twice; remove one: %w", i, a.Account, a.Region, ops.ErrInvalid))
		}
		seen[at] = true
	}
	return &Directory{accounts: accounts, env: env, rest: rest, open: map[place]Repository{}}, errors.Join(faults...)
}

// At returns the repository for resources of an account and region. It opens a
// Parameter Store at most once.
func (d *Directory) At(ctx context.Context, account, region string) (Repository, error) {
	c, ok := d.find(account, region)
	if !ok {
		return d.rest, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	at := place{account, region}
	if r, ok := d.open[at]; ok {
		return r, nil
	}
	c.Region = region
	cfg, err := awsx.Open(ctx, c, d.env)
	if err != nil {
		return nil, fmt.Errorf("parameters of account %s in %s: %w", account, region, err)
	}
	d.open[at] = NewSSM(cfg)
	return d.open[at], nil
}

// find prefers the entry that names the region.
func (d *Directory) find(account, region string) (found awsx.Config, ok bool) {
	for _, a := range d.accounts {
		switch {
		case a.Account != account:
		case a.Region == region:
			return a.Config, true
		case a.Region == "":
			found, ok = a.Config, true
		}
	}
	return found, ok
}
