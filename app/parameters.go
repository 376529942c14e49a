package app

import (
	"context"
	"fmt"

	"github.com/fettleops/fettle/config"
	"github.com/fettleops/fettle/execute/parameter"
	"github.com/fettleops/fettle/internal/awsx"
)

func parameterAccounts(c *config.Config) []parameter.Account {
	var out []parameter.Account
	for _, a := range c.Parameters.Accounts {
		out = append(out, parameter.Account{Account: a.Account, Config: awsx.Config{Region: a.Region, Role: a.Role, ExternalID: a.ExternalID.String(), Endpoint: a.Endpoint}})
	}
	return out
}

// openParameters opens the directory of parameter repositories; the rest is in
// the database.
func (a *App) openParameters() (*parameter.Directory, error) {
	own := parameter.NewRecords(a.Store.Records("parameter"), a.Clock)
	d, err := parameter.NewDirectory(parameterAccounts(a.Config), awsx.Env{Session: "parameters", Transport: a.Transport, Secret: references{}.Resolve}, own)
	if err != nil {
		return nil, fmt.Errorf("parameters: %w", err)
	}
	return d, nil
}

// readParameter reads a value for the front door.
func (a *App) readParameter(ctx context.Context, account, region, key string) (string, map[string]string, error) {
	r, err := a.Parameters.At(ctx, account, region)
	if err != nil {
		return "", nil, err
	}
	p, err := r.Get(ctx, key)
	if err != nil {
		return "", nil, err
	}
	t, ok := r.(parameter.Tagger)
	if !ok {
		return p.Value, nil, nil
	}
	tags, err := t.Tags(ctx, key)
	return p.Value, tags, err
}
