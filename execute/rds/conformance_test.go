package rds_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/peer"

	"github.com/fettleops/fettle/execute/executetest"
	"github.com/fettleops/fettle/execute/rds"
	"github.com/fettleops/fettle/execute/rds/rdstest"
	"github.com/fettleops/fettle/internal/awsx/awsxtest"
	"github.com/fettleops/fettle/ops"
)

const secret = "s3cr3t-value"

// world fills an account.
func world(a *rdstest.Account) {
	a.Databases["shop"] = &rdstest.Database{Class: "db.m5.xlarge", Storage: 100, Tags: map[string]string{"env": "prod"}, Takes: 15 * time.Millisecond}
	for _, c := range []string{"db.m5.xlarge", "db.m5.large", "db.m5.2xlarge"} {
		a.Classes[c] = &rdstest.Class{}
	}
	a.Groups = map[string]string{"default.postgres16": "postgres16", "tuned": "postgres16", "old": "postgres11"}
}

func config(url, extra string) string {
	return "region: eu-central-1\nendpoint: " + url + "\npoll: 10ms\ndatabases: [shop]\n" + extra
}

func TestMain(m *testing.M) { os.Exit(peer.Waiting(m)) }

func TestConformance(t *testing.T) {
	awsxtest.Credentials(t)
	service := rdstest.Start(t)
	account := func(dir string) *rdstest.Account {
		return service.Account(filepath.Base(filepath.Dir(dir)) + "-" + filepath.Base(dir))
	}
	// shaped is a case whose account is shaped when its configuration is asked for.
	shaped := func(extra string, shape func(d *rdstest.Database)) func(string) string {
		return func(dir string) string {
			a := account(dir)
			a.With(func() { shape(a.Databases["shop"]) })
			return config(a.URL, extra)
		}
	}
	slow := func(takes time.Duration) func(d *rdstest.Database) {
		return func(d *rdstest.Database) { d.Takes = takes }
	}
	loud := []string{"the password is " + secret}
	for range 40 {
		loud = append(loud, strings.Repeat("x", 10000)+strings.Repeat("y", len(loud)))
	}
	loud = append(loud, "the end")
	resize := ops.Change{ID: "c1", Action: rds.Resize, Args: []string{"shop", "db.m5.large"}}
	set := func(class string) func(*testing.T, string) {
		return func(_ *testing.T, dir string) {
			a := account(dir)
			a.With(func() { a.Databases["shop"].Class = class })
		}
	}
	executetest.Run(t, rds.Driver, executetest.Harness{
		Prepare: func(_ *testing.T, dir string) { world(account(dir)) },
		Quick:   executetest.Case{Config: shaped("", slow(15*time.Millisecond)), Change: resize},
		Slow:    executetest.Case{Config: shaped("", slow(1100*time.Millisecond)), Change: resize},
		Loud:    executetest.Case{Config: shaped("", func(d *rdstest.Database) { d.Says = loud }), Change: resize},
		Fails: executetest.Case{Config: shaped("settle: 2s\n", func(d *rdstest.Database) {
			d.Says, d.Fails = loud[:1], "Unable to modify the class: "+secret
		}), Change: resize},
		Endless: executetest.Case{Config: shaped("timeout: 150ms\n", slow(600*time.Millisecond)), Change: resize},
		Secret:  secret,
		Begun:   func(_ *testing.T, dir string) int { return account(dir).Calls("ModifyDBInstance db.m5.large") },
		Stands: func(_ *testing.T, dir string) (stands bool) {
			a := account(dir)
			a.With(func() { stands = a.Databases["shop"].Class == "db.m5.large" })
			return stands
		},
		Disturb: set("db.m5.xlarge"),
		Blind:   func(_ *testing.T, dir string) { account(dir).Deny("DescribeDBInstances") },
		Alter:   set("db.m5.2xlarge"),
		Alive:   func(_ *testing.T, dir string) []string { return account(dir).Moving() },
		Crashes: []string{"execute.rds.modify.before", "execute.rds.modify.after"},
	})
}
