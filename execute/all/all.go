// Package all lists every executor tool built into Fettle.
package all

import (
	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/execute/command"
	"github.com/fettleops/fettle/execute/dryrun"
)

// Drivers are the tools, by name.
var Drivers = []execute.Driver{command.Driver, dryrun.Driver}
