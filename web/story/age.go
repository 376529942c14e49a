package story

import (
	"fmt"
	"time"
)

// Age writes a duration as people read it: 8 s, 4 min, 2 h 14 min, 1 d 4 h,
// 12 d. It never rounds up and a negative duration is written without its sign.
func Age(d time.Duration) string {
	if d < 0 {
		d = -d
	}
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 10*time.Minute && d%time.Minute >= time.Second && d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 24*time.Hour:
		if m := int(d.Minutes()) % 60; m > 0 {
			return fmt.Sprintf("%d h %d min", int(d.Hours()), m)
		}
		return fmt.Sprintf("%d h", int(d.Hours()))
	case d < 10*24*time.Hour:
		if h := int(d.Hours()) % 24; h > 0 {
			return fmt.Sprintf("%d d %d h", int(d.Hours())/24, h)
		}
	}
	return fmt.Sprintf("%d d", int(d.Hours())/24)
}
