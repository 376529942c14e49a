// Package all lists the sources. A new one is a new folder and a line here.
package all

import (
	"github.com/fettleops/fettle/intake"
	"github.com/fettleops/fettle/intake/alertmanager"
	"github.com/fettleops/fettle/intake/azuremonitor"
	"github.com/fettleops/fettle/intake/cloudwatch"
)

// Drivers returns every source, in alphabetical order.
func Drivers() []intake.Driver {
	return []intake.Driver{
		alertmanager.Driver,
		azuremonitor.Driver,
		cloudwatch.Driver,
	}
}
