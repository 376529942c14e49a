package test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/analytics"
	"github.com/fettleops/fettle/internal/peer"
)

// WantBacklog wants these daily counts: "2026-03-28 17:00Z 3".
func WantBacklog(want ...string) Act {
	return func(h *House) error {
		list, err := h.as("vic").BacklogSnapshots(h.t.Context(), url.Values{"team": {"Shop"}})
		if err != nil {
			return err
		}
		got := []string{}
		for _, b := range list.Items {
			got = append(got, fmt.Sprintf("%s %s %d", b.Day, b.At.UTC().Format("15:04Z"), b.Count))
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			return fmt.Errorf("the backlog was %q, want %q", got, want)
		}
		return nil
	}
}

// WantCSV wants the lines of the backlog as a spreadsheet reads them.
func WantCSV(want ...string) Act {
	return func(h *House) error {
		text, err := h.text("vic", "/api/v1/analytics/backlog.csv?team=Shop")
		if err != nil {
			return err
		}
		lines := strings.Split(strings.TrimSpace(text), "\n")
		slices.Sort(lines[1:])
		if !slices.Equal(lines, want) {
			return fmt.Errorf("the CSV is %q, want %q", lines, want)
		}
		return nil
	}
}

// WantMTTR wants that many incidents to have been resolved, in that time on average.
func WantMTTR(resolved int, mean time.Duration) Act {
	return func(h *House) error {
		var got analytics.Resolution
		err := h.call("vic", http.MethodGet, "/api/v1/analytics/mttr?team=Shop", nil, &got)
		if err == nil && (got.Resolved != resolved || got.Mean.Round(sec) != mean) {
			err = fmt.Errorf("%d incidents took %s, want %d and %s", got.Resolved, got.Mean, resolved, mean)
		}
		return err
	}
}

// The backlog is counted at 19:00 on the team's clocks, which go forward in
// the night between: 23 hours later, not 24.
func TestBacklogIsCountedByLocalTime(t *testing.T) {
	Play(t, Story{Begin: "2026-03-28 18:55 Europe/Berlin", Events: []Event{
		At(0, Fire("HighCPU", "web1", "web2", "web3")),
		Between(5*minute, 7*minute, WantBacklog("2026-03-28 18:00Z 3")),
		At(8*minute, Resolve("HighCPU", "web1")),
		Between(8*minute, 9*minute, WantMTTR(1, 8*minute)),
		At(10*minute, Off),
		At(23*hour, On), // 18:55 on the clock again: the day has 23 hours
		Between(23*hour, 23*hour+3*minute, WantBacklog("2026-03-28 18:00Z 3")),
		At(23*hour+4*minute+30*sec, WantBacklog("2026-03-28 18:00Z 3")),
		Between(23*hour+5*minute, 23*hour+7*minute, WantBacklog("2026-03-28 18:00Z 3", "2026-03-29 17:00Z 2"),
			WantCSV("timestamp,day,team,backlog_incident_count", "2026-03-28T18:00:00Z,2026-03-28,Shop,3", "2026-03-29T17:00:00Z,2026-03-29,Shop,2")),
	}})
}

// Days on which the server was down are counted afterwards, for the instant
// they stand for; the clocks go back in the night between.
func TestBacklogIsMadeUp(t *testing.T) {
	peer.Long(t)
	Play(t, Story{Begin: "2026-10-24 18:00 Europe/Berlin", Events: []Event{
		At(0, Fire("HighCPU", "web1", "web2")),
		At(2*minute, Off),
		At(49*hour, On),
		At(49*hour, Resolve("HighCPU", "web1", "web2")),
		Between(49*hour, 49*hour+2*minute, WantBacklog("2026-10-24 17:00Z 2", "2026-10-25 18:00Z 2")),
	}})
}
