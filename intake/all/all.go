// Package all lists every sender of signals built into Fettle.
package all

import (
	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/intake/alertmanager"
)

// Drivers are the sources, by name.
var Drivers = []intake.Driver{alertmanager.Driver}
