// Package all lists the tools. A new one is a new folder and a line here.
package all

import (
	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/execute/command"
	"github.com/fettleops/fettle/execute/dryrun"
)

// Drivers returns every tool, in alphabetical order.
func Drivers() []execute.Driver {
	return []execute.Driver{
		command.Driver,
		dryrun.Driver,
	}
}
