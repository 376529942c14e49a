package intake

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// maxNested bounds how deep JSON inside strings is followed.
const maxNested = 3

// redactedText stands in for a personal field that was text.
const redactedText = "[redacted]"

// pointers is a set of JSON pointers (RFC 6901) that are taken out of payloads
// before anything else sees them: text becomes "[redacted]", everything else
// null. Beyond the RFC, `*` stands for every member or element, and a pointer
// goes on into a string that holds JSON, as alarms arrive inside SNS messages.
type pointers [][]string

func parsePointers(list []string) (pointers, error) {
	var out pointers
	for _, p := range list {
		if !strings.HasPrefix(p, "/") || p == "/" {
			return nil, &Fault{Field: "redact", Value: p, Fix: fmt.Sprintf("write %q as a JSON pointer such as /alerts/*/annotations/contact", p)}
		}
		tokens := strings.Split(p[1:], "/")
		for i, t := range tokens {
			tokens[i] = strings.ReplaceAll(strings.ReplaceAll(t, "~1", "/"), "~0", "~")
		}
		out = append(out, tokens)
	}
	return out, nil
}

// apply returns body without the fields, or body itself when it is no JSON,
// which is the decoder's to refuse.
func (p pointers) apply(body []byte) []byte {
	if len(p) == 0 {
		return body
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber() // a number keeps all its digits
	var doc any
	if d.Decode(&doc) != nil || d.More() {
		return body
	}
	for _, tokens := range p {
		doc = hide(doc, tokens, 0)
	}
	out, err := json.Marshal(doc)
	if err != nil {
		return body
	}
	return out
}

func hide(v any, tokens []string, nested int) any {
	if len(tokens) == 0 {
		if _, ok := v.(string); ok {
			return redactedText
		}
		return nil
	}
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if tokens[0] == "*" || tokens[0] == k {
				v[k] = hide(e, tokens[1:], nested)
			}
		}
	case []any:
		for i, e := range v {
			if tokens[0] == "*" || tokens[0] == fmt.Sprint(i) {
				v[i] = hide(e, tokens[1:], nested)
			}
		}
	case string:
		if nested == maxNested || !strings.HasPrefix(strings.TrimSpace(v), "{") && !strings.HasPrefix(strings.TrimSpace(v), "[") {
			return v
		}
		d := json.NewDecoder(strings.NewReader(v))
		d.UseNumber()
		var inner any
		if d.Decode(&inner) != nil {
			return v
		}
		if out, err := json.Marshal(hide(inner, tokens, nested+1)); err == nil {
			return string(out)
		}
	}
	return v
}
