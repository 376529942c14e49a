package kinesis_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// service is Kinesis as its documentation has it, behind the network, for what
// moto cannot: expired iterators, limits, failures. It is strict about the
// order in which shards are read.
type service struct {
	mu     sync.Mutex
	shards []*shard
	next   int // of sequence numbers
	// fail answers a call instead, when it returns a type of error.
	fail func(operation string, shard string) (errorType string)
	// iteratorLasts is how long an iterator does.
	iteratorLasts time.Duration
	// pageSize is how many records a page has at most.
	pageSize int
	calls    map[string][]time.Time // GetRecords by shard
	early    []string               // shards that were read before their parents were at their ends
}

type shard struct {
	id       string
	parents  []string
	records  []record
	closed   bool
	drained  bool
	vanished bool
}

type record struct {
	Data                        []byte
	PartitionKey                string
	SequenceNumber              string
	ApproximateArrivalTimestamp float64
}

func newService(shards int) *service {
	s := &service{iteratorLasts: 5 * time.Minute, pageSize: 10_000, calls: map[string][]time.Time{}}
	for range shards {
		s.add()
	}
	return s
}

func (s *service) add(parents ...string) string {
	id := fmt.Sprintf("shardId-%012d", len(s.shards))
	s.shards = append(s.shards, &shard{id: id, parents: parents})
	return id
}

func (s *service) find(id string) *shard {
	i := slices.IndexFunc(s.shards, func(x *shard) bool { return x.id == id && !x.vanished })
	if i < 0 {
		return nil
	}
	return s.shards[i]
}

// put puts a record into a shard.
func (s *service) put(id string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	x := s.find(id)
	if x.closed {
		panic("put into a closed shard")
	}
	x.records = append(x.records, record{data, "k", fmt.Sprintf("%d", 49_600_000_000_000+s.next), float64(time.Now().UnixMilli()) / 1000})
}

// split closes a shard and opens two after it.
func (s *service) split(id string) (a, b string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.find(id).closed = true
	return s.add(id), s.add(id)
}

// merge closes two shards and opens one after them.
func (s *service) merge(a, b string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.find(a).closed, s.find(b).closed = true, true
	return s.add(a, b)
}

// vanish takes a shard away, as the end of its retention does.
func (s *service) vanish(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.find(id).vanished = true
}

// set changes how the service behaves.
func (s *service) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// RoundTrip implements http.RoundTripper.
func (s *service) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	status, answer := s.answer(operation, body)
	b, err := json.Marshal(answer)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}},
		Body: io.NopCloser(bytes.NewReader(b)), ContentLength: int64(len(b)), Request: r,
	}, nil
}

type object = map[string]any

func (s *service) answer(operation string, body []byte) (status int, answer any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var in struct {
		ShardID                string `json:"ShardId"`
		ShardIteratorType      string
		StartingSequenceNumber string
		Timestamp              float64
		ShardIterator          string
		Limit                  int
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return refuse("SerializationException")
	}
	id := in.ShardID
	var at iterator
	if in.ShardIterator != "" {
		if err := json.Unmarshal([]byte(in.ShardIterator), &at); err != nil {
			return refuse("InvalidArgumentException")
		}
		id = at.Shard
	}
	if operation == "GetRecords" {
		s.calls[id] = append(s.calls[id], time.Now())
	}
	if s.fail != nil {
		if errorType := s.fail(operation, id); errorType != "" {
			return refuse(errorType)
		}
	}
	if operation == "ListShards" {
		return http.StatusOK, s.list()
	}
	x := s.find(id)
	if x == nil {
		return refuse("ResourceNotFoundException")
	}
	switch operation {
	case "GetShardIterator":
		n, ok := x.position(in.ShardIteratorType, in.StartingSequenceNumber, in.Timestamp)
		if !ok {
			return refuse("InvalidArgumentException")
		}
		return http.StatusOK, object{"ShardIterator": s.iterator(id, n)}
	case "GetRecords":
		if time.Now().UnixMilli() >= at.Until {
			return refuse("ExpiredIteratorException")
		}
		return http.StatusOK, s.page(x, at.At, in.Limit)
	}
	return refuse("UnknownOperationException")
}

func refuse(errorType string) (int, any) {
	if errorType == "InternalFailure" {
		return http.StatusInternalServerError, object{"__type": errorType, "message": "refused by the test"}
	}
	return http.StatusBadRequest, object{"__type": errorType, "message": "refused by the test"}
}

type iterator struct {
	Shard string
	At    int
	Until int64
}

func (s *service) iterator(id string, at int) string {
	b, err := json.Marshal(iterator{id, at, time.Now().Add(s.iteratorLasts).UnixMilli()})
	if err != nil {
		panic(err)
	}
	return string(b)
}

func (s *service) list() any {
	out := []object{}
	for _, x := range s.shards {
		if x.vanished {
			continue
		}
		o := object{"ShardId": x.id, "HashKeyRange": object{"StartingHashKey": "0", "EndingHashKey": "1"}, "SequenceNumberRange": object{"StartingSequenceNumber": "0"}}
		if len(x.parents) > 0 {
			o["ParentShardId"] = x.parents[0]
		}
		if len(x.parents) > 1 {
			o["AdjacentParentShardId"] = x.parents[1]
		}
		out = append(out, o)
	}
	return object{"Shards": out}
}

func (x *shard) position(kind, after string, timestamp float64) (int, bool) {
	switch kind {
	case "TRIM_HORIZON":
		return 0, true
	case "AT_TIMESTAMP":
		n := slices.IndexFunc(x.records, func(r record) bool { return r.ApproximateArrivalTimestamp >= timestamp })
		if n < 0 {
			n = len(x.records)
		}
		return n, true
	case "AFTER_SEQUENCE_NUMBER":
		n := slices.IndexFunc(x.records, func(r record) bool { return r.SequenceNumber == after })
		return n + 1, n >= 0
	}
	return 0, false
}

func (s *service) page(x *shard, at, limit int) any {
	for _, p := range x.parents {
		if parent := s.find(p); parent != nil && !parent.drained {
			s.early = append(s.early, x.id)
		}
	}
	to := min(at+min(limit, s.pageSize), len(x.records))
	out := object{"Records": append([]record{}, x.records[at:to]...), "MillisBehindLatest": 0}
	if to < len(x.records) {
		last := x.records[len(x.records)-1].ApproximateArrivalTimestamp
		out["MillisBehindLatest"] = int64(math.Max(1, 1000*(last-x.records[to].ApproximateArrivalTimestamp)))
	}
	if x.closed && to == len(x.records) {
		x.drained = true
	} else {
		out["NextShardIterator"] = s.iterator(x.id, to)
	}
	return out
}

// most returns the greatest number of calls that one shard got in a second.
func (s *service) most() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, calls := range s.calls {
		for i := range calls {
			k := 1
			for k < len(calls)-i && calls[i+k].Sub(calls[i]) < time.Second {
				k++
			}
			n = max(n, k)
		}
	}
	return n
}

// datum is a line of a metric stream whose sum is n: the n-th message.
func datum(n int) []byte {
	return []byte(`{"account_id":"1","region":"eu-west-1","namespace":"Test","metric_name":"Count","dimensions":{},"timestamp":` +
		strconv.FormatInt(time.Now().UnixMilli(), 10) + `,"value":{"max":1,"min":1,"sum":` + strconv.Itoa(n) + `,"count":1},"unit":"Count"}`)
}
