package cloudwatch

import (
	"encoding/json"
	"strconv"
)

// document is a JSON object by its exact keys. encoding/json ignores case in
// structs, and AlarmName and alarmName tell two forms apart.
type document map[string]json.RawMessage

func open(body []byte) (document, error) {
	var d document
	if err := json.Unmarshal(body, &d); err != nil {
		return nil, err
	}
	return d, nil
}

func (d document) has(key string) bool { _, ok := d[key]; return ok }

// isAlarm tells the alarm SNS carries from an event.
func (d document) isAlarm() bool { return d.has("AlarmName") && d.has("NewStateValue") }

// text returns a member that is a text, else "".
func (d document) text(key string) string {
	var s string
	if json.Unmarshal(d[key], &s) != nil {
		return ""
	}
	return s
}

// object returns a member that is an object, or a text that holds one.
func (d document) object(key string) document {
	raw := d[key]
	if len(raw) > 0 && raw[0] == '"' {
		raw = []byte(d.text(key))
	}
	var o document
	if json.Unmarshal(raw, &o) != nil {
		return nil
	}
	return o
}

// number returns a member that is a number, as it was written.
func (d document) number(key string) string {
	var n json.Number
	if raw := d[key]; len(raw) == 0 || raw[0] == 'n' || json.Unmarshal(raw, &n) != nil {
		return ""
	}
	return n.String()
}

func value(s string) *float64 {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f-f != 0 {
		return nil
	}
	return &f
}

// dimensions are a list of {name, value} from SNS and a map from EventBridge.
type dimensions map[string]string

// UnmarshalJSON implements json.Unmarshaler. A form nobody has heard of is no
// dimensions.
func (d *dimensions) UnmarshalJSON(b []byte) error {
	*d = nil
	var list []struct{ Name, Value string }
	if json.Unmarshal(b, &list) == nil {
		if len(list) > 0 {
			*d = dimensions{}
		}
		for _, e := range list {
			(*d)[e.Name] = e.Value
		}
		return nil
	}
	var m map[string]string
	if json.Unmarshal(b, &m) == nil && len(m) > 0 {
		*d = m
	}
	return nil
}

// text is a string that may be missing or of another type without spoiling the
// rest of its struct.
type text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *text) UnmarshalJSON(b []byte) error {
	*t = ""
	var s string
	if json.Unmarshal(b, &s) == nil {
		*t = text(s)
		return nil
	}
	if len(b) > 0 && (b[0] == '-' || b[0] >= '0' && b[0] <= '9') {
		*t = text(b)
	}
	return nil
}
