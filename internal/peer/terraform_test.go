package peer

import (
	"os/exec"
	"strings"
	"testing"
)

func TestTerraformRuns(t *testing.T) {
	out, err := exec.Command(Terraform(t), "version", "-json").Output()
	if err != nil || !strings.Contains(string(out), `"terraform_version"`) {
		t.Errorf("terraform version answered %s, %v", out, err)
	}
}
