package app

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/config"
	"github.com/fettleops/fettle/ops"
)

// TestImportedWindowsAreConfiguration reads what an import prints the way a
// configuration file is read.
func TestImportedWindowsAreConfiguration(t *testing.T) {
	const calendar = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\n" +
		"BEGIN:VEVENT\r\nUID:1\r\nSUMMARY:Patching: \"web\"\r\nDTSTART;TZID=Europe/Berlin:20261122T020000\r\nDURATION:PT4H\r\nRRULE:FREQ=WEEKLY;BYDAY=SU\r\nEND:VEVENT\r\n" +
		"BEGIN:VEVENT\r\nUID:2\r\nSUMMARY:Odd\r\nDTSTART:20261122T020000Z\r\nDURATION:PT90M\r\nRRULE:FREQ=DAILY;COUNT=5\r\nEXDATE:20261123T020000Z\r\nEND:VEVENT\r\n" +
		"BEGIN:VEVENT\r\nUID:3\r\nSUMMARY:Year end\r\nDTSTART;VALUE=DATE:20261220\r\nDTEND;VALUE=DATE:20270104\r\nX-FETTLE-KIND:freeze\r\nX-FETTLE-BREAK-GLASS:admin\r\nEND:VEVENT\r\n" +
		"END:VCALENDAR\r\n"
	text, err := ImportWindows([]byte(calendar), "Europe/Dublin", false)
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Load("imported.yaml", []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if err := CheckConfig(c); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if len(c.Windows) != 2 || len(c.Freezes) != 1 {
		t.Fatalf("%d windows and %d freezes of\n%s", len(c.Windows), len(c.Freezes), text)
	}
	if f := c.Freezes[0]; f.From.String() != "2026-12-20T00:00" || f.To.String() != "2027-01-04T00:00" || f.TimeZone.String() != "Europe/Dublin" {
		t.Errorf("the freeze is %+v", f)
	}
	if w := c.Windows[1]; !strings.Contains(w.ICal, "EXDATE:20261123T020000Z") || w.Duration.D != 90*time.Minute {
		t.Errorf("the window is %+v", w)
	}
	if _, err := ImportWindows([]byte(calendar), "Mars", false); !errors.Is(err, ops.ErrInvalid) {
		t.Errorf("a zone that does not exist: %v", err)
	}
	if _, err := ImportWindows([]byte(calendar), "", false); err == nil || !strings.Contains(err.Error(), "--time-zone") {
		t.Errorf("a day without a zone: %v", err)
	}
}
