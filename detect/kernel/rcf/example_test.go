package rcf_test

import (
	"fmt"
	"math"

	"github.com/fettleops/fettle/detect/kernel/rcf"
)

// A daily wave runs for a month; then one hour is off.
func Example() {
	forest, err := rcf.New(rcf.Options{Dims: 1, Shingle: 8, Seed: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	pass := rcf.Pass{Attribute: true}
	var expected rcf.Estimate
	for hour := range 31 * 24 {
		value := 50 + 20*math.Sin(2*math.Pi*float64(hour)/24)
		if hour == 30*24 {
			if err := forest.Forecast(1, &expected, &pass); err != nil {
				fmt.Println(err)
			}
			value += 60
		}
		if err := forest.Process([]float64{value}, &pass); err != nil {
			fmt.Println(err)
		}
		if pass.Score > 2 {
			fmt.Printf("hour %d: score %.1f, %.0f instead of %.0f, %.0f%% for being high\n",
				hour, pass.Score, value, expected.Value[0], 100*pass.High[7]/pass.Score)
			break
		}
	}
	// Output:
	// hour 720: score 2.9, 110 instead of 50, 93% for being high
}
