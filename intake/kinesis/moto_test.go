package kinesis_test

import (
	"context"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"time"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	aws "github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/fettleops/fettle/internal/db"
	"github.com/fettleops/fettle/internal/db/dbtest"
	"github.com/fettleops/fettle/internal/db/sqlite"
	"github.com/fettleops/fettle/internal/peer"
	"github.com/fettleops/fettle/series"
	"github.com/fettleops/fettle/store"
)

// TestAgainstMoto reads a stream of a server that is not ours, with leases and
// samples in real databases: two consumers share, a shard is split, one
// consumer is killed, and every message is in the log once.
func TestAgainstMoto(t *testing.T) {
	peer.Long(t)
	url := peer.Moto(t)
	credentials(t)
	t.Setenv("AWS_ENDPOINT_URL_STS", url)
	cfg, err := awsconfig.LoadDefaultConfig(t.Context(), awsconfig.WithRegion("eu-west-1"), awsconfig.WithBaseEndpoint(url))
	must(t, err)
	client := aws.NewFromConfig(cfg)
	_, err = client.CreateStream(t.Context(), &aws.CreateStreamInput{StreamName: new("metrics"), ShardCount: new(int32(3))})
	must(t, err)
	n := 0
	put := func(k int) {
		t.Helper()
		for range k {
			_, err := client.PutRecord(t.Context(), &aws.PutRecordInput{StreamName: new("metrics"), PartitionKey: new(string(rune('a' + n%26))), Data: datum(n)})
			must(t, err)
			n++
		}
	}
	w := &world{t: t, options: "{stream: metrics, region: eu-west-1, start: trim_horizon, lease: 1500ms, every: 200ms, endpoint: \"" + url + "\", role: \"arn:aws:iam::123456789012:role/reader\", external_id: env:ID}"}
	open := func(name string) *db.DB {
		t.Helper()
		d, err := sqlite.Open(t.Context(), filepath.Join(dbtest.Dir(t), name))
		must(t, err)
		t.Cleanup(func() { _ = d.Close() })
		return d
	}
	core := open("fettle.db")
	must(t, store.Migrate(t.Context(), core))
	w.leases = store.New(core, time.Now).Leases("intake/metrics")
	w.samples, err = series.OpenLog(t.Context(), open("samples.db"), 0)
	must(t, err)

	await := func(what string, ok func() bool) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for !ok() {
			select {
			case <-ctx.Done():
				t.Fatalf("waited in vain until %s; in the log: %v", what, sums(t, w.samples))
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	all := func() bool { return len(sums(t, w.samples)) >= n }

	put(30)
	a := w.start("a")
	await("what was there is read", all)
	b := w.start("b")
	await("both have a share", func() bool { return len(w.holds("a")) > 0 && len(w.holds("b")) > 0 })
	put(30)
	await("both read", all)
	split := w.holds("b")[0]
	_, err = client.SplitShard(t.Context(), &aws.SplitShardInput{StreamName: new("metrics"), ShardToSplit: &split, NewStartingHashKey: new(middle(t, client, split))})
	must(t, err)
	put(60)
	await("the halves are read", all)
	put(30)
	b.kill()
	put(30)
	await("a has taken over", all)
	once(t, w.samples, n)
	a.stop()
	if logs := a.logs.String() + b.logs.String(); strings.Contains(logs, "the-external-id") {
		t.Errorf("a secret stands in the log:\n%s", logs)
	}
}

// middle returns the hash key in the middle of a shard.
func middle(t *testing.T, client *aws.Client, shard string) string {
	t.Helper()
	out, err := client.ListShards(t.Context(), &aws.ListShardsInput{StreamName: new("metrics")})
	must(t, err)
	for _, s := range out.Shards {
		if *s.ShardId == shard {
			return half(t, *s.HashKeyRange.StartingHashKey, *s.HashKeyRange.EndingHashKey)
		}
	}
	t.Fatalf("no shard %s", shard)
	return ""
}

func half(t *testing.T, from, to string) string {
	t.Helper()
	a, ok1 := new(big.Int).SetString(from, 10)
	b, ok2 := new(big.Int).SetString(to, 10)
	if !ok1 || !ok2 {
		t.Fatalf("hash keys %s and %s", from, to)
	}
	return a.Add(a, b).Rsh(a, 1).String()
}
