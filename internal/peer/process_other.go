//go:build !linux

package peer

import (
	"os"
	"os/exec"
	"syscall"
)

// isolate does nothing: only Linux can tell a child that its parent died.
func isolate(*exec.Cmd, syscall.Signal) {}

// killGroup kills the process pid; without a group of its own it is alone.
func killGroup(pid int) {
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill()
	}
}

// runAs does nothing: peers run as the calling user, and PostgreSQL then
// refuses root with its own message.
func runAs(*exec.Cmd, uint32, uint32) {}
