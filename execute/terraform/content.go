package terraform

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/fettleops/fettle/ops"
)

// The verbs of actions beyond create, update, delete and replace.
const (
	verbImport = "import"
	verbMove   = "move"
	verbForget = "forget"
)

const (
	unknownValue    = "(known after apply)"
	presentValue    = "(present value)" // of something whole that is computed anew
	sensitivePrefix = "(sensitive value) "
	outputPrefix    = "output."
)

// reader turns Terraform's JSON into the content of a plan of ours.
type reader struct {
	key    []byte // of the hashes that stand for sensitive values
	hidden map[string]bool
}

// hide returns what is shown of a sensitive value: a keyed hash, by which two
// of them can be compared and neither can be guessed.
func (r *reader) hide(v any) string {
	mac := hmac.New(sha256.New, r.key)
	mac.Write(canonical(v))
	return sensitivePrefix + "#" + hex.EncodeToString(mac.Sum(nil)[:12])
}

func canonical(v any) []byte {
	b, err := json.Marshal(v) // maps marshal with sorted keys
	if err != nil {
		panic("terraform: what came out of JSON goes back into it: " + err.Error())
	}
	return b
}

// actions returns what a draft does, by resource. Reads, and resources that
// stay as they are, are no actions.
func (r *reader) actions(d draft) []ops.PlanAction {
	var out []ops.PlanAction
	r.concealed(d)
	for _, c := range d.ResourceChanges {
		if c.Change == nil || c.Mode == tfjson.DataResourceMode {
			continue
		}
		name := c.Address
		if c.DeposedKey != "" {
			name += " (deposed object " + c.DeposedKey + ")"
		}
		verb, replace := verbOf(c.Change.Actions)
		if c.Change.Importing != nil {
			out = append(out, ops.PlanAction{Resource: name, Verb: verbImport, After: map[string]string{"id": r.importID(c.Change.Importing)}})
		}
		if c.PreviousAddress != "" && c.PreviousAddress != c.Address {
			out = append(out, ops.PlanAction{Resource: name, Verb: verbMove, Before: map[string]string{"address": c.PreviousAddress}, After: map[string]string{"address": c.Address}})
		}
		if verb == "" {
			continue
		}
		a := ops.PlanAction{Resource: name, Verb: verb, Replace: replace}
		a.Before, a.After = r.sides(c.Change)
		if c.Change.Actions.CreateBeforeDestroy() {
			a.Args = []string{"create before destroy"}
		}
		out = append(out, a)
	}
	for name, c := range d.OutputChanges {
		if verb, _ := verbOf(c.Actions); verb != "" {
			a := ops.PlanAction{Resource: outputPrefix + name, Verb: verb}
			a.Before, a.After = r.sides(c)
			out = append(out, a)
		}
	}
	slices.SortStableFunc(out, func(a, b ops.PlanAction) int { return strings.Compare(a.Resource, b.Resource) })
	return out
}

func (r *reader) importID(i *tfjson.Importing) string {
	if i.Unknown {
		return unknownValue
	}
	return i.ID
}

func verbOf(a tfjson.Actions) (verb string, replace bool) {
	switch {
	case a.Replace():
		return "replace", true
	case a.Create():
		return "create", false
	case a.Update():
		return "update", false
	case a.Delete():
		return "delete", false
	case a.Forget():
		return verbForget, false
	case a.NoOp(), a.Read():
		return "", false
	}
	// A verb of a later Terraform is an action all the same: it is shown, and
	// can be neither foreseen nor undone.
	words := make([]string, 0, len(a))
	for _, w := range a {
		words = append(words, string(w))
	}
	return strings.Join(words, "+"), false
}

// sides returns the attributes that differ, by path.
func (r *reader) sides(c *tfjson.Change) (before, after map[string]string) {
	before, after = map[string]string{}, map[string]string{}
	r.walk(before, "", c.Before, nil, c.BeforeSensitive)
	r.walk(after, "", c.After, c.AfterUnknown, c.AfterSensitive)
	for k, v := range before {
		if after[k] == v && v != unknownValue {
			delete(before, k)
			delete(after, k)
		}
	}
	for whole, v := range after {
		if !isUnknown(v) {
			continue
		}
		for k := range before {
			if partOf(k, whole) {
				delete(before, k)
				before[whole] = presentValue
			}
		}
	}
	return before, after
}

func partOf(k, whole string) bool {
	return strings.HasPrefix(k, whole+".") || strings.HasPrefix(k, whole+"[")
}

var plainKey = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)

// walk puts every leaf of v under its path. Where Terraform marks a whole
// value unknown or sensitive, that value is one leaf.
func (r *reader) walk(to map[string]string, path string, v, unknown, sensitive any) {
	at := path
	if at == "" {
		at = "value"
	}
	if sensitive == true {
		switch {
		case unknown == true:
			to[at] = sensitivePrefix + unknownValue
		case v != nil:
			to[at] = r.hide(v)
		}
		return
	}
	if unknown == true {
		to[at] = unknownValue
		return
	}
	switch v := v.(type) {
	case map[string]any:
		u, _ := unknown.(map[string]any)
		s, _ := sensitive.(map[string]any)
		keys := maps.Clone(v)
		for k := range u {
			if _, known := keys[k]; !known {
				keys[k] = nil
			}
		}
		if len(keys) == 0 && path != "" {
			to[at] = "{}"
		}
		for k, e := range keys {
			r.walk(to, join(path, k), e, u[k], s[k])
		}
	case []any:
		u, _ := unknown.([]any)
		s, _ := sensitive.([]any)
		n := max(len(v), len(u))
		if n == 0 {
			to[at] = "[]"
		}
		for i := range n {
			r.walk(to, fmt.Sprintf("%s[%d]", path, i), item(v, i), item(u, i), item(s, i))
		}
	case nil:
		switch u := unknown.(type) { // parts of something that is all unknown
		case map[string]any:
			for k, e := range u {
				r.walk(to, join(path, k), nil, e, nil)
			}
		case []any:
			for i, e := range u {
				r.walk(to, fmt.Sprintf("%s[%d]", path, i), nil, e, nil)
			}
		}
	case string:
		if r.leaks(v) {
			to[at] = r.hide(v)
			return
		}
		to[at] = shorten(canonical(v))
	default:
		to[at] = shorten(canonical(v))
	}
}

// leaks reports whether a value holds one that is sensitive elsewhere: a
// provider that computes an attribute of a secret does not always mark it.
func (r *reader) leaks(v string) bool {
	for s := range r.hidden {
		if len(s) >= minHidden && strings.Contains(v, s) {
			return true
		}
	}
	return false
}

// minHidden is the length from which a sensitive value is looked for elsewhere.
// A shorter word would be found everywhere and hide nothing.
const minHidden = 4

func item(list []any, i int) any {
	if i < len(list) {
		return list[i]
	}
	return nil
}

func join(path, key string) string {
	switch {
	case !plainKey.MatchString(key):
		return fmt.Sprintf("%s[%q]", path, key)
	case path == "":
		return key
	}
	return path + "." + key
}

// maxValue bounds one value in a plan. A longer one is shown by its beginning
// and compared by its digest.
const maxValue = 2 << 10

func shorten(b []byte) string {
	if len(b) <= maxValue {
		return string(b)
	}
	sum := sha256.Sum256(b)
	return fmt.Sprintf("%s... (%d bytes, sha256 %s)", strings.ToValidUTF8(string(b[:200]), ""), len(b), hex.EncodeToString(sum[:]))
}

// concealed collects every sensitive string of a draft, so that it can be taken
// out of what Terraform and its provisioners say.
func (r *reader) concealed(d draft) []string {
	for _, c := range slices.Concat(d.ResourceChanges, d.ResourceDrift) {
		if c.Change != nil {
			r.conceal(c.Change.Before, c.Change.BeforeSensitive)
			r.conceal(c.Change.After, c.Change.AfterSensitive)
		}
	}
	for _, c := range d.OutputChanges {
		r.conceal(c.Before, c.BeforeSensitive)
		r.conceal(c.After, c.AfterSensitive)
	}
	for name, v := range d.Variables {
		if r.declaredSensitive(d, name) {
			r.conceal(v.Value, true)
		}
	}
	out := slices.DeleteFunc(slices.Collect(maps.Keys(r.hidden)), func(s string) bool { return len(s) < minHidden })
	slices.SortFunc(out, func(a, b string) int { return len(b) - len(a) }) // the longer first: one may hold the other
	return out
}

func (r *reader) conceal(v, sensitive any) {
	switch v := v.(type) {
	case map[string]any:
		s, _ := sensitive.(map[string]any)
		for k, e := range v {
			if sensitive == true {
				r.conceal(e, true)
			} else {
				r.conceal(e, s[k])
			}
		}
	case []any:
		s, _ := sensitive.([]any)
		for i, e := range v {
			if sensitive == true {
				r.conceal(e, true)
			} else {
				r.conceal(e, item(s, i))
			}
		}
	case string:
		if sensitive == true {
			r.hidden[v] = true
		}
	}
}

func (r *reader) declaredSensitive(d draft, name string) bool {
	if d.Config == nil || d.Config.RootModule == nil {
		return true
	}
	v, known := d.Config.RootModule.Variables[name]
	return !known || v.Sensitive
}

// empty reports whether nothing was managed before this plan.
func empty(s *tfjson.State) bool {
	if s == nil || s.Values == nil {
		return true
	}
	return none(s.Values.RootModule)
}

func none(m *tfjson.StateModule) bool {
	if m == nil {
		return true
	}
	for _, r := range m.Resources {
		if r.Mode != tfjson.DataResourceMode {
			return false
		}
	}
	return !slices.ContainsFunc(m.ChildModules, func(c *tfjson.StateModule) bool { return !none(c) })
}

var signs = map[string]string{"create": "+", "update": "~", "delete": "-", "replace": "-/+", verbImport: "<-", verbMove: "->", verbForget: "."}

// render writes actions as Terraform does: a sign, the resource, and every
// attribute that differs.
func render(actions []ops.PlanAction, why map[string]string) string {
	var b strings.Builder
	count := map[string]int{}
	for _, a := range actions {
		sign := signs[a.Verb]
		if sign == "" {
			sign = "!"
		}
		if len(a.Args) > 0 {
			sign = "+/-"
		}
		fmt.Fprintf(&b, "%s %s", sign, a.Resource)
		if w := why[a.Resource]; w != "" {
			fmt.Fprintf(&b, "  # %s", w)
		}
		b.WriteByte('\n')
		all := maps.Clone(a.Before)
		if all == nil {
			all = map[string]string{}
		}
		maps.Copy(all, a.After)
		for _, k := range slices.Sorted(maps.Keys(all)) {
			was, had := a.Before[k]
			is, has := a.After[k]
			switch {
			case had && has:
				fmt.Fprintf(&b, "    ~ %s: %s -> %s\n", k, was, is)
			case has:
				fmt.Fprintf(&b, "    + %s: %s\n", k, is)
			default:
				fmt.Fprintf(&b, "    - %s: %s\n", k, was)
			}
		}
		if !strings.HasPrefix(a.Resource, outputPrefix) {
			count[a.Verb]++
		}
	}
	fmt.Fprintf(&b, "Plan: %d to add, %d to change, %d to destroy", count["create"]+count["replace"], count["update"], count["delete"]+count["replace"])
	for _, verb := range []string{verbImport, verbMove, verbForget} {
		if count[verb] > 0 {
			fmt.Fprintf(&b, ", %d to %s", count[verb], verb)
		}
	}
	b.WriteString(".\n")
	return b.String()
}

// reasons says per resource what Terraform says about it.
func reasons(d draft) map[string]string {
	out := map[string]string{}
	for _, c := range d.ResourceChanges {
		if c.Change == nil {
			continue
		}
		var parts []string
		if len(c.Change.ReplacePaths) > 0 {
			var paths []string
			for _, p := range c.Change.ReplacePaths {
				path := ""
				steps, _ := p.([]any)
				for _, s := range steps {
					if name, ok := s.(string); ok {
						path = join(path, name)
					} else {
						path += fmt.Sprintf("[%v]", s)
					}
				}
				paths = append(paths, path)
			}
			slices.Sort(paths)
			parts = append(parts, "replaced because of "+strings.Join(paths, ", "))
		}
		if c.ActionReason != "" && len(parts) == 0 {
			parts = append(parts, strings.ReplaceAll(string(c.ActionReason), "_", " "))
		}
		out[c.Address] = strings.Join(parts, "; ")
	}
	return out
}
