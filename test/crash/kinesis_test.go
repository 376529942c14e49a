package crash

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/fettleops/fettle/internal/failpoint/points"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/test/house"
)

// TestEachRecordIsKeptOnceWhenTheServerDiesWhileItFetches kills the server at
// each point of fetching, with records coming in, and counts the records of the
// sample log in the end.
func TestEachRecordIsKeptOnceWhenTheServerDiesWhileItFetches(t *testing.T) {
	peer.Long(t)
	t.Parallel()
	house.Binary(t)
	url := peer.Moto(t)
	cfg, err := awsconfig.LoadDefaultConfig(t.Context(), awsconfig.WithBaseEndpoint(url), awsconfig.WithRegion("eu-west-1"))
	if err != nil {
		t.Fatal(err)
	}
	client := kinesis.NewFromConfig(cfg)
	if _, err := client.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: new("metrics"), ShardCount: new(int32(1))}); err != nil {
		t.Fatal(err)
	}
	sent := 0
	put := func() {
		t.Helper()
		for range 5 {
			sent++
			_, err := client.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: new("metrics"), PartitionKey: new("k"), Data: fmt.Appendf(nil,
				`{"account_id":"1","region":"eu-west-1","namespace":"Test","metric_name":"Count","dimensions":{},"timestamp":%d,"value":{"max":1,"min":1,"sum":%d,"count":1},"unit":"Count"}`, time.Now().UnixMilli(), sent)})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	// What is trimmed from the log is not known again; detection knows it then by
	// its time.
	h := house.New(t, house.Options{LogKeep: "1h", Integration: `{name: aws, source: kinesis, options: {stream: metrics, region: eu-west-1, start: trim_horizon, every: 200ms, lease: 1s, endpoint: "` + url + `"}}`})
	put()
	killed := 0
	// What is made once comes first, before and after.
	for _, wanted := range append([]string{"commit.*:store.(*leases).Make", "intake.samples.*"}, fetching...) {
		for _, when := range []string{"before", "after"} {
			point := strings.Replace(wanted, "*", when, 1)
			if !slices.Contains(points.All(), point) {
				t.Fatalf("%s is no failpoint", point)
			}
			if wanted == fetching[len(fetching)-1] || killed >= 2 && strings.HasSuffix(wanted, "Make") {
				continue // at an orderly end, and done already
			}
			h.Start(point)
			put()
			dies(t, h, point)
			killed++
		}
	}
	for _, point := range []string{"commit.before:store.(*leases).Remove", "commit.after:store.(*leases).Remove"} {
		h.Start(point)
		h.Ready(ready)
		put()
		time.Sleep(2 * time.Second) // it holds the shard by now, or takes it while it ends
		h.Terminate()
		dies(t, h, point)
	}
	h.Start("")
	h.Ready(ready)
	put()
	for began := time.Now(); kept(t, h) < sent && time.Since(began) < longest; {
		time.Sleep(100 * time.Millisecond)
	}
	h.Stop()
	if got := kept(t, h); got != sent {
		h.Dump()
		t.Errorf("%d records are in the log, %d were sent", got, sent)
	}
}

// dies waits until the server has killed itself at the point.
func dies(t *testing.T, h *house.House, point string) {
	t.Helper()
	select {
	case <-h.Ended():
	case <-time.After(longest):
		h.Dump()
		t.Fatalf("%s was not reached", point)
	}
	if !h.Killed() {
		h.Dump()
		t.Fatalf("%s: the server ended and was not killed", point)
	}
}

// kept returns how many records of samples the log holds; nothing was trimmed.
func kept(t *testing.T, h *house.House) (n int) {
	t.Helper()
	d, err := sql.Open("sqlite", "file:"+filepath.Join(h.Dir, "samples.db")+"?mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.QueryRowContext(t.Context(), "SELECT count(*) FROM sample_record WHERE kind = 1").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
