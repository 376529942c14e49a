// Package all lists every platform driver built into Fettle.
package all

import (
	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/connector/desk"
)

// Drivers are the platforms, by name.
var Drivers = []connector.Driver{desk.Driver}
