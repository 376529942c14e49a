package strictyaml_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/internal/secret"
	"github.com/fettleops/fettle/internal/strictyaml"
)

type inner struct {
	Retries int           `yaml:"retries"`
	Every   time.Duration `yaml:"every"`
}

func (i *inner) Defaults() { i.Retries, i.Every = 3, time.Minute }

func (i *inner) Validate() error {
	var errs []error
	if i.Retries < 0 {
		errs = append(errs, &strictyaml.Fault{Path: "retries", Text: "must be 0 or more"})
	}
	if i.Every == 0 {
		errs = append(errs, errors.New("never happens"))
	}
	return errors.Join(errs...)
}

type driver struct {
	Instance string            `yaml:"instance,required"`
	Password secret.Ref        `yaml:"password"`
	Mode     string            `yaml:"mode" enum:"table,import"`
	Poll     inner             `yaml:"poll"`
	Extra    *inner            `yaml:"extra"`
	List     []inner           `yaml:"list"`
	Map      map[string]inner  `yaml:"map"`
	Labels   map[string]string `yaml:"labels"`
	Ratio    float64           `yaml:"ratio"`
	Port     uint16            `yaml:"port"`
	Any      any               `yaml:"any"`
	Rest     strictyaml.Raw    `yaml:",rest"`
}

// pair is a list that may be written as one text.
type pair []struct {
	Left  string `yaml:"left"`
	Right string `yaml:"right"`
}

func (p *pair) SetSingle(text string) {
	*p = make(pair, 1)
	(*p)[0].Left = text
}

func TestSingle(t *testing.T) {
	f := func(in, want string, places ...string) {
		t.Helper()
		var d struct {
			Pair pair `yaml:"pair"`
		}
		raw, faults := strictyaml.Parse("d.yaml", []byte(in))
		if err := faults.Err(); err != nil {
			t.Fatal(err)
		}
		set, faults := strictyaml.Decode(raw, &d)
		got := fmt.Sprint(d.Pair)
		if err := faults.Err(); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
		for _, p := range places {
			if at := set[p].String(); at != "d.yaml:1:7" {
				t.Errorf("%s: %s is at %s", in, p, at)
			}
		}
	}
	f("pair: x", "[{x }]", "pair", "pair[0]", "pair[0].left")
	f("pair: [{left: x}, {right: y}]", "[{x } { y}]")
	f("pair: []", "[]")
	f("pair: 5", "d.yaml:1:7: pair: wants text or a list, got a number (5)")
	f("pair: {left: x}", "d.yaml:1:7: pair: wants text or a list, got a mapping")
}

func decode(t *testing.T, s string, v any) error {
	t.Helper()
	raw, faults := strictyaml.Parse("d.yaml", []byte(s))
	if err := faults.Err(); err != nil {
		return err
	}
	return raw.Decode(v)
}

func TestDecode(t *testing.T) {
	var d driver
	err := decode(t, `instance: acme
password: env:PW
mode: table
poll: {retries: 5}
extra: {}
list: [{}, {every: 2w}]
map: {a: {retries: 1}}
labels: {1: x, on: "y", "a b": z}
ratio: 0.5
port: 8080
any: {a: [1, 2.5, true, ~, text]}
more: {left: over}
`, &d)
	if err != nil {
		t.Fatal(err)
	}
	f := func(what string, ok bool) {
		t.Helper()
		if !ok {
			t.Errorf("%s: %+v", what, d)
		}
	}
	f("scalars", d.Instance == "acme" && d.Mode == "table" && d.Ratio == 0.5 && d.Port == 8080)
	f("a reference and its place", d.Password.Name == "PW" && d.Password.Source == "d.yaml:2:11")
	f("defaults under a struct", d.Poll == inner{5, time.Minute})
	f("defaults behind a pointer", d.Extra != nil && *d.Extra == inner{3, time.Minute})
	f("defaults in a list", len(d.List) == 2 && d.List[0] == inner{3, time.Minute} && d.List[1].Every == 336*time.Hour)
	f("defaults in a map", d.Map["a"] == inner{1, time.Minute})
	f("keys are text", d.Labels["1"] == "x" && d.Labels["on"] == "y" && d.Labels["a b"] == "z")
	list := d.Any.(map[string]any)["a"].([]any)
	f("anything", list[0] == int64(1) && list[1] == 2.5 && list[2] == true && list[3] == nil && list[4] == "text")

	var rest struct {
		More struct {
			Left string `yaml:"left"`
		} `yaml:"more"`
	}
	if err := d.Rest.Decode(&rest); err != nil || rest.More.Left != "over" {
		t.Errorf("rest: %+v, %v", rest, err)
	}
	if leaves := d.Rest.Leaves(); len(leaves) != 1 || leaves[0].Path != "more.left" || leaves[0].At.String() != "d.yaml:12:14" {
		t.Errorf("leaves: %+v", leaves)
	}
}

func TestDecodeFaults(t *testing.T) {
	f := func(in string, want ...string) {
		t.Helper()
		var d driver
		err := decode(t, in, &d)
		if got := strings.Join(want, "\n"); err == nil || err.Error() != got {
			t.Errorf("%s\ngot\n%v\nwant\n%s", in, err, got)
		}
	}
	f("", "d.yaml: instance: is missing")
	f("mode: table", "d.yaml:1:1: instance: is missing")
	f("instance: a\npassword: hunter2", "d.yaml:2:11: password: a plain secret; write env:NAME or file:PATH")
	f("instance: a\npoll: {retris: 1}", `d.yaml:2:8: poll.retris: unknown key "retris"; did you mean "retries"?`)
	f("instance: a\npoll: {retries: -1, every: 0}", "d.yaml:2:7: poll: never happens", "d.yaml:2:8: poll.retries: must be 0 or more")
	f("instance: a\nlist:\n  - retries: -1", "d.yaml:3:5: list[0].retries: must be 0 or more")
	f("instance: a\nport: 99999", "d.yaml:2:7: port: wants a whole number, not negative, got a number (99999)")
	f("instance: a\nratio: .inf", "d.yaml:2:8: ratio: wants a finite number, got a number (.inf)")
	f("instance: a\npoll: {retries: 1.5, every: 5}", "d.yaml:2:17: poll.retries: wants a whole number, got a number (1.5)",
		`d.yaml:2:29: poll.every: "5" is no duration: it has no unit; write for example 30s, 5m, 72h or 30d`)
	f("instance: !!str a", "d.yaml:1:11: instance: the tag !!str is not read; remove it")
	f("instance: &a x\nlabels: {b: *a}", "d.yaml:1:11: instance: anchors and aliases are not read; write the value out",
		"d.yaml:2:13: labels.b: anchors and aliases are not read; write the value out")
	f("instance: a\nlabels: {\"a.b\": 1}", `d.yaml:2:17: labels["a.b"]: wants text, got a number; write it in quotes: "1"`)
	f("instance: a\nany: 0x10", "d.yaml:2:6: any: wants a decimal number, got 0x10")
}

func TestZeroRaw(t *testing.T) {
	var i inner
	if err := (strictyaml.Raw{}).Decode(&i); err != nil || i.Retries != 3 {
		t.Errorf("%+v, %v", i, err)
	}
	if r := (strictyaml.Raw{}); !r.IsZero() || r.Leaves() != nil || r.References() != nil || r.PlainSecrets() != nil {
		t.Error("the zero Raw holds something")
	}
}

func TestRawFault(t *testing.T) {
	raw, _ := strictyaml.Parse("d.yaml", []byte("oauth:\n  client_id: x\nlist:\n  - {a: 1}\n"))
	f := func(path, want string) {
		t.Helper()
		if got := raw.Fault(path, "is %s", "wrong").Error(); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	f("oauth.client_id", "d.yaml:2:3: oauth.client_id: is wrong")
	f("oauth.client_secret", "d.yaml:1:1: oauth.client_secret: is wrong")
	f("list[0].a", "d.yaml:4:6: list[0].a: is wrong")
	f("list[7].a", "d.yaml:3:1: list[7].a: is wrong")
	f("none", "d.yaml:1:1: none: is wrong")
}

func TestLeavesMaskPlainSecrets(t *testing.T) {
	raw, _ := strictyaml.Parse("d.yaml", []byte("password: hunter2\nclient_secret: env:S\ntokens: 5\nempty: {}\n"))
	var got []string
	for _, l := range raw.Leaves() {
		got = append(got, l.Path+"="+l.Value)
	}
	if s := strings.Join(got, " "); s != "client_secret=env:S empty={} password=<redacted> tokens=5" {
		t.Error(s)
	}
}

func TestParseBounds(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		raw, faults := strictyaml.Parse("d.yaml", []byte(in))
		err := faults.Err()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want %q", in, err, want)
		}
		_ = raw.Decode(&driver{})
	}
	f(strings.Repeat("#", strictyaml.MaxBytes+1), "at most 8388608 are read")
	f(strings.Repeat("[", 500_000), "nested deeper than 64")
	f(strings.Repeat("- ", 500_000), "nested deeper than 64")
	f(strings.Repeat("? ", 500_000), "nested deeper than 64")
	f("a: 1\n---\nb: 2\n", "d.yaml:3:1: a second document")
	f("a: {", "d.yaml:1:4: ")
}

func TestNearest(t *testing.T) {
	known := []string{"every", "conflict", "name", "time_zone", "to"}
	f := func(word, want string) {
		t.Helper()
		if got := strictyaml.Nearest(word, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
	f("evry", "every")
	f("evrey", "every") // neighbours swapped
	f("Every", "every")
	f("timezone", "time_zone")
	f("naem", "name")
	f("conflcts", "conflict")
	f("potatoes", "")
	f("x", "")
	f("", "")
	f(strings.Repeat("every", 100), "")
}

// Place is embedded, so that its keys stand beside those of what embeds it.
type Place struct {
	Region string `yaml:"region,required"`
}

func TestInlineKeysStandBesideTheOthers(t *testing.T) {
	var outer struct {
		Place `yaml:",inline"`
		Name  string `yaml:"name"`
	}
	if err := decode(t, "{name: a, region: b}", &outer); err != nil || outer.Name != "a" || outer.Region != "b" {
		t.Errorf("got %+v, %v", outer, err)
	}
	if err := decode(t, "{name: a, regon: b}", &outer); err == nil || !strings.Contains(err.Error(), `did you mean "region"`) || !strings.Contains(err.Error(), "region: is missing") {
		t.Errorf("a misspelt key of the embedded struct: %v", err)
	}
}

func TestEntriesAndText(t *testing.T) {
	raw, faults := strictyaml.Parse("f.yaml", []byte("b: {x: 1}\na: text\nc: 2\n"))
	if faults.Err() != nil {
		t.Fatal(faults)
	}
	var got []string
	for _, e := range raw.Entries() {
		text, ok := e.Value.Text()
		got = append(got, fmt.Sprintf("%s %q %v %d", e.Name, text, ok, len(e.Value.Entries())))
	}
	if want := `b "" false 1, a "text" true 0, c "" false 0`; strings.Join(got, ", ") != want {
		t.Errorf("entries %q, want %q", got, want)
	}
	if e := (strictyaml.Raw{}).Entries(); e != nil {
		t.Errorf("entries of nothing: %v", e)
	}
}

// rule is a struct that may be written as its command.
type rule struct {
	Command string `yaml:"command,required"`
	Times   int    `yaml:"times"`
}

func (r *rule) Defaults()             { r.Times = 1 }
func (r *rule) SetSingle(text string) { r.Command = text }

func TestSingleStruct(t *testing.T) {
	f := func(text string, want ...rule) {
		t.Helper()
		var v struct {
			Allow []rule `yaml:"allow"`
		}
		raw, faults := strictyaml.Parse("f", []byte(text))
		if faults != nil {
			t.Fatal(faults)
		}
		_, faults = strictyaml.Decode(raw, &v)
		if len(want) == 0 && len(faults) == 0 || len(want) > 0 && (faults.Err() != nil || !slices.Equal(v.Allow, want)) {
			t.Errorf("%s: %+v, %v", text, v.Allow, faults)
		}
	}
	f("allow: [restart, {command: clean, times: 2}]", rule{"restart", 1}, rule{"clean", 2})
	f("allow: [[restart]]")
	f("allow: [7]")
	f("allow: [{times: 2}]")
}
