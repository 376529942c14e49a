// Package awsxtest makes tests of AWS drivers independent of the machine they
// run on.
package awsxtest

import (
	"os"
	"testing"
)

// meaningless are credentials that mean nothing, instead of those of the machine.
var meaningless = map[string]string{
	"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_SESSION_TOKEN": "", "AWS_REGION": "", "AWS_DEFAULT_REGION": "",
	"AWS_PROFILE": "", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CA_BUNDLE": "",
}

// Credentials gives the process credentials that mean nothing, and takes away
// what it would find of its own, for the length of the test.
func Credentials(t testing.TB) {
	t.Helper()
	for k, v := range meaningless {
		t.Setenv(k, v)
	}
}

// CredentialsForAll does so for all tests of a package, which may run beside
// each other then. It is meant for TestMain.
func CredentialsForAll() {
	for k, v := range meaningless {
		if err := os.Setenv(k, v); err != nil {
			panic(err)
		}
	}
}
