package policy

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/fettleops/fettle/ops"
)

// What labels tell at once is what evaluating tells, errors apart: a resource
// that is refused is one for which the expression is false.
func TestLabelsRefuseWhatIsFalseProperty(t *testing.T) {
	word := rapid.SampledFrom([]string{"a", "b", "c"})
	condition := rapid.Custom(func(t *rapid.T) string {
		key, value := word.Draw(t, "key"), word.Draw(t, "value")
		return fmt.Sprintf(rapid.SampledFrom([]string{
			`resource.labels.%s == "%s"`, `"%[2]s" == resource.labels["%[1]s"]`, `resource.labels.%s != "%s"`, `!(resource.labels.%s == "%s")`,
			`resource.name == "%[2]s"`, `has(resource.labels.%[1]s)`, `change.action == "%[2]s"`, `["a"].exists(resource, resource == "%[2]s")`,
			`1 / int(resource.labels.%s) > 0 && "%s" != ""`, `change.number / 0 == 1`,
		}).Draw(t, "form"), key, value)
	})
	rapid.Check(t, func(t *rapid.T) {
		text := condition.Draw(t, "first")
		for range rapid.IntRange(0, 3).Draw(t, "more") {
			text += rapid.SampledFrom([]string{" && ", " || "}).Draw(t, "join") + condition.Draw(t, "next")
		}
		p, err := Compile(Change, text)
		if err != nil {
			t.Skip(err)
		}
		r := ops.Resource{Name: word.Draw(t, "name"), Labels: rapid.MapOf(word, word).Draw(t, "labels")}
		vars := Vars{Resource: &r, Change: &ops.Change{Action: word.Draw(t, "action")}}
		got, gotErr := p.Match(vars)
		p.labels = nil
		want, wantErr := p.Match(vars)
		if got != want || (gotErr == nil) != (wantErr == nil) {
			t.Fatalf("%s of %v is %t (%v), and %t (%v) when evaluated", text, r.Labels, got, gotErr, want, wantErr)
		}
	})
}

func TestLabelsThatDecide(t *testing.T) {
	f := func(text string, want int) {
		t.Helper()
		p, err := Compile(Change, text)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.labels) != want {
			t.Errorf("%s: %d labels decide, want %d: %v", text, len(p.labels), want, p.labels)
		}
	}
	f(`resource.labels.env == "prod"`, 1)
	f(`resource.labels["net"] == "core" && "prod" == resource.labels.env && change.risk < 0.5`, 2)
	f(`resource.labels.env == "prod" || change.risk < 0.5`, 0)
	f(`resource.labels.env == resource.labels.net`, 0)
	f(`resource.name == "web"`, 0)
	f(`["a"].exists(resource, resource == "a")`, 0)
}
