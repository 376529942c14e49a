package test

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/app"
	"github.com/fettleops/fettle/internal/db/dbtest"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/ops"
)

// patience bounds how long a thing may take in real time on a loaded machine.
const patience = 3 * minute

// soon waits in real time until everything wanted has come about, and returns
// how long that took.
func (h *House) soon(wants ...Act) time.Duration {
	h.t.Helper()
	began := time.Now()
	for {
		err := h.do(wants)
		if err == nil {
			return time.Since(began)
		}
		if time.Since(began) > patience {
			h.fatalf("after %s: %v", patience, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// now does things and checks what must hold at once.
func (h *House) now(acts ...Act) {
	h.t.Helper()
	h.must(h.do(acts))
}

// onPostgres is what replicas around one database share.
func onPostgres(t *testing.T, dir string) string {
	t.Helper()
	files := map[string]string{"postgres": peer.Postgres(t), "data.key": hex.EncodeToString(key(t))}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text := strings.Replace(fmt.Sprintf(shared, dir), "server: {", fmt.Sprintf(`server: {data_key: "file:%s/data.key", `, dir), 1)
	return text + fmt.Sprintf("store: {postgres: \"file:%s/postgres\"}\n", dir)
}

func key(t *testing.T) []byte {
	t.Helper()
	k := make([]byte, 32)
	if _, err := rand.Read(k); err != nil {
		t.Fatal(err)
	}
	return k
}

// quickGate is the gate for stories of real time.
var quickGate = strings.NewReplacer("takes: 2s", "takes: 1s", "within: 4m", "within: 20s").Replace(gate)

// The loop goes around on PostgreSQL as it does on SQLite, in real time.
func TestHappyPathOnPostgres(t *testing.T) {
	t.Parallel()
	dir := dbtest.Dir(t)
	h := build(t, dir)
	h.tune = app.Tune{VerifyPoll: sec / 5, VerifyHold: sec, ExecutePoll: sec / 5, GateRecheck: sec / 2}
	h.configure(onPostgres(t, dir) + quickGate + always + byRule)
	h.serve(snowHost, h.snow)
	h.start()
	defer h.close()

	h.now(Fire("HighCPU", hosts(20)...))
	h.soon(WantIncident(ops.IncidentNew, 20), WantDesk(ops.IncidentNew), WantSnow(Fields{"state": "1"}), WantChange(ops.ChangeAuthorize, ""))
	h.restart()
	h.now(Approve("ann"))
	h.soon(WantRun(ops.RunVerifying), WantRuns(1, 0))
	h.restart()
	h.now(Resolve("HighCPU", hosts(20)...))
	h.soon(WantChange(ops.ChangeClosed, ops.Successful), WantIncident(ops.IncidentResolved, 0), WantSnow(Fields{"state": "6"}), WantDesk(ops.IncidentResolved),
		WantNotes("raised (standard)", "approved by ann (api)", "run started", "applied; now being verified", "verdict: better"))
	h.now(WantIncidents(1), WantSnowTickets(1), WantRuns(1, 0))
}
