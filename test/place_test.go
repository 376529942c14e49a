package test

import (
	"strings"
	"testing"

	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/ops"
)

// Policy wants the approval in ServiceNow. Fettle refuses every other one and
// leads to the change request; what is said there counts, and the request
// follows its change to the end.
func TestApprovedInServiceNowOnly(t *testing.T) {
	peer.Long(t)
	there := strings.Replace(rightSizing, "count: 1}, expires", "count: 1}, in: snow, expires", 1)
	Play(t, Story{Base: gatedBase, Config: there + nightly, World: shop, Events: append(asked(),
		At(1*minute, Refused(403, "approved in snow only; approve CHG", Approve("bob")), Refused(403, "http://snow.test/", Approve("mia"))),
		Throughout(1*minute, 2*minute, WantChange(ops.ChangeAuthorize, ""), WantRequest(Fields{"state": snowAuthorize, "approval": "requested"})),
		At(2*minute, SnowDecides("beth.anglin", "approved")),
		Between(2*minute, 3*minute, WantChange(ops.ChangeScheduled, ""), WantRequest(Fields{"state": snowScheduled})),
		Between(30*minute, 32*minute, WantRun(ops.RunVerifying), WantFleet("m5.xlarge", "1", "4", 1), WantRequest(Fields{"state": snowImplement})),
		Between(32*minute, 39*minute, WantChange(ops.ChangeClosed, ops.Successful), WantRequest(Fields{"state": snowClosed, "close_code": "successful"})),
	)})
}
