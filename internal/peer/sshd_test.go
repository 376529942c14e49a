package peer

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

func TestSSHDLetsItsKeyIn(t *testing.T) {
	s := SSHD(t)
	known := filepath.Join(t.TempDir(), "known_hosts")
	write(t, known, fmt.Sprintf("[127.0.0.1]:%d %s\n", s.Port, s.HostKey))
	ctx, cancel := context.WithTimeout(t.Context(), readyWithin)
	defer cancel()
	out, err := exec.CommandContext(ctx, program(t, "ssh", sshPackage), "-F", "none", "-o", "UserKnownHostsFile="+known, "-o", "StrictHostKeyChecking=yes",
		"-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-i", s.KeyFile, "-p", strconv.Itoa(s.Port), s.User+"@127.0.0.1", "echo it is $((6*7))").CombinedOutput()
	if err != nil || string(out) != "it is 42\n" {
		t.Errorf("ssh answered %q, %v", out, err)
	}
}
