// Package all lists the platforms. A new one is a new folder and a line here.
package all

import (
	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/connector/desk"
	"github.com/fettleops/fettle/connector/rt"
	"github.com/fettleops/fettle/connector/servicenow"
)

// Drivers returns every platform, in alphabetical order.
func Drivers() []connector.Driver {
	return []connector.Driver{
		desk.Driver,
		rt.Driver,
		servicenow.Driver,
	}
}
