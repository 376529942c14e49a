package peer

import (
	"os/exec"
	"testing"
)

// Terraform returns the path of a Terraform, which no Debian package brings.
// It needs no network as long as a configuration holds terraform_data only.
func Terraform(t testing.TB) (path string) {
	t.Helper()
	bin, err := exec.LookPath("terraform")
	if err != nil {
		absent(t, "terraform", "install Terraform 1.6 or newer from developer.hashicorp.com/terraform (no Debian package has it)")
	}
	return bin
}
