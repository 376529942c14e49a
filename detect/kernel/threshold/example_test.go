package threshold_test

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/fettleops/fettle/detect/kernel/threshold"
)

// A budget of one false alarm in a day of minutes becomes a threshold on raw
// scores; a maintenance is scored and leaves no trace.
func ExampleSPOT() {
	spot, err := threshold.NewSPOT(threshold.SPOTSettings{Risk: threshold.RiskOf(7, time.Minute)})
	if err != nil {
		fmt.Println(err)
		return
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 10_000 {
		spot.Update(1+0.1*rng.ExpFloat64(), false)
	}
	before := spot.Threshold()
	fmt.Println("a score of 3 in a maintenance alarms:", spot.Update(3, true))
	fmt.Println("the threshold is as it was:", spot.Threshold() == before)
	// The true one is 1 + 0.1*ln(1440), 1.73.
	fmt.Println("it is between 1.5 and 2:", before > 1.5 && before < 2)
	// Output:
	// a score of 3 in a maintenance alarms: true
	// the threshold is as it was: true
	// it is between 1.5 and 2: true
}

// An outage of six points at one level is one alert, and then the new normal.
func ExampleDrift() {
	drift, err := threshold.NewDrift(threshold.DriftSettings{Run: 3, Calm: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	values, deviations := []float64{0}, []float64{1}
	for _, p := range []struct{ grade, value float64 }{{0, 10}, {0.8, 50}, {0.7, 51}, {0.9, 50}, {0.4, 50}, {0, 50}, {0, 51}} {
		values[0] = p.value
		d := drift.Update(p.grade, values, deviations, false)
		fmt.Println(p.value, d.Step, "alert:", d.Alert, "learn:", d.Learn)
	}
	// Output:
	// 10 quiet alert: false learn: true
	// 50 alerted alert: true learn: false
	// 51 alerted alert: false learn: false
	// 50 learning alert: false learn: true
	// 50 learning alert: false learn: true
	// 50 learning alert: false learn: true
	// 51 quiet alert: false learn: true
}
