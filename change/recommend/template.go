package recommend

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/fettleops/fettle/ops"
)

// words are what a template may name, between ${ and }. Beside them, tag:NAME
// is the value of a tag.
var words = map[string]func(x ops.Recommendation) string{
	"resource":        func(x ops.Recommendation) string { return x.ResourceKey },
	"name":            func(x ops.Recommendation) string { return x.Name },
	"account":         func(x ops.Recommendation) string { return x.Account },
	"region":          func(x ops.Recommendation) string { return x.Region },
	"service":         func(x ops.Recommendation) string { return x.Service },
	"arn":             arnOf,
	"stack":           func(x ops.Recommendation) string { return x.Stack },
	"logical_id":      func(x ops.Recommendation) string { return x.LogicalID },
	"current":         func(x ops.Recommendation) string { return x.Current.Type },
	"recommended":     func(x ops.Recommendation) string { return x.Recommended.Type },
	"current_min":     func(x ops.Recommendation) string { return size(x.Current, false) },
	"current_max":     func(x ops.Recommendation) string { return size(x.Current, true) },
	"recommended_min": func(x ops.Recommendation) string { return size(x.Recommended, false) },
	"recommended_max": func(x ops.Recommendation) string { return size(x.Recommended, true) },
	"icco_key":        iccoKey,
}

const tagWord = "tag:"

// Words returns what a template may name, in alphabetical order.
func Words() []string {
	out := []string{tagWord + "NAME"}
	for w := range words {
		out = append(out, w)
	}
	slices.Sort(out)
	return out
}

func arnOf(x ops.Recommendation) string {
	for _, a := range x.Resource.Aliases {
		if strings.HasPrefix(a, "arn:") {
			return a
		}
	}
	return ""
}

func size(v ops.Values, most bool) string {
	switch {
	case v.Group == nil:
		return ""
	case most:
		return strconv.FormatInt(v.Group.Max, 10)
	}
	return strconv.FormatInt(v.Group.Min, 10)
}

// iccoKey is the parameter in which ICCO keeps the type.
func iccoKey(x ops.Recommendation) string {
	if x.ResourceKey == "" {
		return ""
	}
	last := "instanceType"
	if x.Service == ops.ServiceRDS {
		last = "dbInstanceClass"
	}
	return "/densify/iaas/" + x.Service + "/" + x.ResourceKey + "/" + last
}

// template is text with words in it.
type template struct{ parts []part }

type part struct {
	text string // as it is, if word is empty
	word string
}

func parse(text string) (template, error) {
	var t template
	for rest := text; rest != ""; {
		before, after, found := strings.Cut(rest, "${")
		if before != "" {
			t.parts = append(t.parts, part{text: before})
		}
		if !found {
			break
		}
		word, tail, closed := strings.Cut(after, "}")
		_, known := words[word]
		tag, isTag := strings.CutPrefix(word, tagWord)
		switch {
		case !closed:
			return t, fmt.Errorf("%q lacks a } after ${", text)
		case !known && (!isTag || tag == ""):
			return t, fmt.Errorf("there is no ${%s}; write one of %s", word, strings.Join(Words(), ", "))
		}
		t.parts, rest = append(t.parts, part{word: word}), tail
	}
	return t, nil
}

// render fills the words in. What the recommendation does not say is an error,
// and so is a value that would be read as an option or holds control
// characters: it comes from outside and goes to a tool.
func (t template) render(x ops.Recommendation) (string, error) {
	var b strings.Builder
	for i, p := range t.parts {
		if p.word == "" {
			b.WriteString(p.text)
			continue
		}
		v := ""
		if tag, ok := strings.CutPrefix(p.word, tagWord); ok {
			v = x.Tags[tag]
		} else {
			v = words[p.word](x)
		}
		switch {
		case v == "":
			return "", fmt.Errorf("needs ${%s} and the recommendation does not say it", p.word)
		case i == 0 && v[0] == '-':
			return "", fmt.Errorf("would begin with a dash, which is an option to a tool: ${%s} is %q", p.word, v)
		case strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }):
			return "", fmt.Errorf("would hold a control character: ${%s} is %q", p.word, v)
		}
		b.WriteString(v)
	}
	return b.String(), nil
}
