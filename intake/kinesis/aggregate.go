package kinesis

import (
	"bytes"
	"crypto/md5" //nolint:gosec // the checksum of the format
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
)

// magic begins a record in which the Kinesis Producer Library has put several.
var magic = []byte{0xf3, 0x89, 0x9a, 0xc2}

var errAggregate = errors.New("an aggregated record that is broken")

// The fields of the AggregatedRecord and its Record that matter here.
const (
	aggregateRecords = 3
	recordData       = 3
)

// split returns the records that are in one: those a producer put together, or
// the record itself. What begins like an aggregate and does not have its
// checksum is a record of its own, as the consumer libraries of AWS see it.
// Records that a producer meant for another shard, before a split, are returned
// too; the one it then sent there has the same samples.
func split(data []byte) ([][]byte, error) {
	body, ok := bytes.CutPrefix(data, magic)
	if !ok || len(body) < md5.Size {
		return [][]byte{data}, nil
	}
	body, sum := body[:len(body)-md5.Size], body[len(body)-md5.Size:]
	if want := md5.Sum(body); !bytes.Equal(sum, want[:]) { //nolint:gosec // as above
		return [][]byte{data}, nil
	}
	var out [][]byte
	err := fields(body, aggregateRecords, func(record []byte) error {
		return fields(record, recordData, func(data []byte) error {
			out = append(out, data)
			return nil
		})
	})
	return out, err
}

// fields calls f with each length-delimited field of a number.
func fields(b []byte, want protowire.Number, f func([]byte) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errAggregate
		}
		b = b[n:]
		if num != want || typ != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
				return errAggregate
			}
			b = b[n:]
			continue
		}
		v, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return errAggregate
		}
		if err := f(v); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
