// Package all lists every source of the front door built into Fettle.
package all

import (
	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/intake/alertmanager"
	"github.com/fettleops/fettle/intake/azuremonitor"
	"github.com/fettleops/fettle/intake/cloudwatch"
)

// Drivers are the sources, by name.
var Drivers = []intake.Driver{alertmanager.Driver, azuremonitor.Driver, cloudwatch.Driver}
