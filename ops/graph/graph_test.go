package graph_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fettleops/fettle/ops"
	"github.com/fettleops/fettle/ops/graph"
)

// edges reads "web>db db>disk".
func edges(text string) (out []graph.Edge) {
	for _, e := range strings.Fields(text) {
		from, to, _ := strings.Cut(e, ">")
		out = append(out, graph.Edge{From: from, To: to, Source: "config"})
	}
	return out
}

func list(nodes []graph.Node) string {
	var out []string
	for _, n := range nodes {
		out = append(out, fmt.Sprintf("%s%d", n.ID, n.Depth))
	}
	return strings.Join(out, " ")
}

func TestWalk(t *testing.T) {
	g := graph.New(edges("web>app app>db app>cache db>disk batch>db web>web"))
	f := func(got []graph.Node, want string) {
		t.Helper()
		if list(got) != want {
			t.Errorf("got %s, want %s", list(got), want)
		}
	}
	f(g.Dependencies("web", 9), "app1 cache2 db2 disk3")
	f(g.Dependencies("web", 1), "app1")
	f(g.Dependencies("disk", 9), "")
	f(g.Dependents("db", 9), "app1 batch1 web2")
	f(g.Dependents("db", 0), "")
	f(g.Near("db", 1), "app1 batch1 disk1")
	f(g.Near("nothing", 3), "")
	f(graph.New(edges("a>b b>c c>a")).Dependencies("a", 99), "b1 c2") // a circle ends
	f((&graph.Graph{}).Dependents("a", 3), "")
	if n := len(g.Edges()); n != 5 {
		t.Errorf("%d edges: one of a resource to itself says nothing", n)
	}
}

func TestWay(t *testing.T) {
	g := graph.New(edges("web>app app>db batch>db"))
	f := func(a, b string, hops int, want string) {
		t.Helper()
		way, ok := g.Way(a, b, hops)
		if got := strings.Join(way, " "); got != want || ok != (want != "") {
			t.Errorf("from %s to %s within %d: %q, %v, want %q", a, b, hops, got, ok, want)
		}
	}
	f("web", "app", 1, "web app")
	f("app", "web", 1, "app web")
	f("web", "db", 1, "")
	f("web", "batch", 3, "web app db batch")
	f("web", "web", 0, "web")
	f("", "", 1, "")
}

func TestOrder(t *testing.T) {
	f := func(text, ids, want, circles string) {
		t.Helper()
		order, found := graph.New(edges(text)).Order(strings.Fields(ids))
		if got := strings.Join(order, " "); got != want || strings.Trim(fmt.Sprint(found), "[]") != circles {
			t.Errorf("%s of %s: %q, circles %v", ids, text, got, found)
		}
	}
	f("web>app app>db", "web db app", "db app web", "")
	f("web>app app>db", "web db", "db web", "") // what lies between is not given
	f("", "b a", "a b", "")
	f("a>b b>a c>a", "c b a", "a b c", "a b")
	f("a>x x>b b>a", "a b", "a b", "a b x")
	f("a>b", "", "", "")
}

func TestOrderProperty(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(r, "nodes")
		name := func(i int) string { return fmt.Sprintf("n%02d", i) }
		var in []graph.Edge
		for range rapid.IntRange(0, 25).Draw(r, "edges") {
			in = append(in, graph.Edge{From: name(rapid.IntRange(0, n-1).Draw(r, "from")), To: name(rapid.IntRange(0, n-1).Draw(r, "to")), Source: "s"})
		}
		// Reachability by Warshall's algorithm is the oracle.
		reach := map[[2]string]bool{}
		for _, e := range in {
			reach[[2]string{e.From, e.To}] = true
		}
		for k := range n {
			for i := range n {
				for j := range n {
					if reach[[2]string{name(i), name(k)}] && reach[[2]string{name(k), name(j)}] {
						reach[[2]string{name(i), name(j)}] = true
					}
				}
			}
		}
		g := graph.New(in)
		var ids []string
		for i := range n {
			if rapid.Bool().Draw(r, "wanted") {
				ids = append(ids, name(i))
			}
			if got := len(g.Dependencies(name(i), n)); true {
				want := 0
				for j := range n {
					if i != j && reach[[2]string{name(i), name(j)}] {
						want++
					}
				}
				if got != want {
					r.Fatalf("%s needs %d, want %d", name(i), got, want)
				}
			}
		}
		order, circles := g.Order(ids)
		again, _ := g.Order(ids)
		if !slices.Equal(order, again) || len(order) != len(ids) {
			r.Fatalf("%v of %v, then %v", order, ids, again)
		}
		for i, a := range order {
			for _, b := range order[i+1:] {
				if reach[[2]string{a, b}] && !reach[[2]string{b, a}] {
					r.Fatalf("%s needs %s and comes before it: %v", a, b, order)
				}
			}
		}
		for _, c := range circles {
			for _, a := range c {
				for _, b := range c {
					if a != b && !reach[[2]string{a, b}] {
						r.Fatalf("no circle: %v", c)
					}
				}
			}
		}
	})
}

func links(in []graph.Link) string {
	var out []string
	for _, l := range in {
		out = append(out, l.From.Name+">"+l.To.Name)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

const template = `{"Parameters": {"Size": {"Type": "String"}}, "Resources": {
  "Net": {"Type": "AWS::EC2::VPC"},
  "Role": {"Type": "AWS::IAM::Role", "DependsOn": "Net"},
  "Queue": {"Type": "AWS::SQS::Queue"},
  "Db": {"Type": "AWS::RDS::DBInstance", "DependsOn": ["Net", "Role"], "Properties": {"Class": {"Ref": "Size"}, "Vpc": {"Ref": "Net"}}},
  "Web": {"Type": "AWS::EC2::Instance", "Properties": {"A": [{"Fn::GetAtt": ["Db", "Endpoint.Address"]}], "B": {"Fn::GetAtt": "Role.Arn"},
    "C": {"Fn::Sub": "${Queue.Arn}/${AWS::Region}/${Size}"}, "D": {"Fn::Sub": ["${Net}-${Other}", {"Other": {"Ref": "Queue"}, "Net": "x"}]}, "E": {"Ref": "Web"}}}}}`

func TestCloudFormation(t *testing.T) {
	found, err := graph.FromCloudFormation("shop", []byte(template), []byte(`{"StackResources": [
		{"LogicalResourceId": "Db", "PhysicalResourceId": "arn:aws:rds:eu-west-1:123456789012:db:shop"}, {"LogicalResourceId": "Web", "PhysicalResourceId": "i-0123"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	const db = "arn:aws:rds:eu-west-1:123456789012:db:shop"
	if got, want := links(found), "Role>Net "+db+">Net "+db+">Role i-0123>Queue i-0123>Role i-0123>"+db; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	if got := found[0].From; got.Kind != "AWS::RDS::DBInstance" || !slices.Equal(got.Aliases, []string{db, "cfn:shop/Db"}) {
		t.Errorf("the database is %+v", got)
	}
	for _, bad := range []string{`Resources: {}`, `{"Resources": {"A": {"DependsOn": 3}}}`} {
		if _, err := graph.FromCloudFormation("shop", []byte(bad), nil); !errors.Is(err, ops.ErrInvalid) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestTerraform(t *testing.T) {
	const shown = `{"format_version": "1.0", "values": {"root_module": {"resources": [
	  {"address": "aws_vpc.main", "mode": "managed", "type": "aws_vpc", "values": {"arn": "arn:aws:ec2:eu-west-1:1:vpc/vpc-1", "id": "vpc-1"}},
	  {"address": "data.aws_ami.x", "mode": "data", "type": "aws_ami"},
	  {"address": "aws_instance.web[0]", "mode": "managed", "type": "aws_instance", "depends_on": ["aws_vpc.main", "data.aws_ami.x", "module.db.aws_db_instance.this"]},
	  {"address": "aws_instance.web[1]", "mode": "managed", "type": "aws_instance", "depends_on": ["aws_vpc.main"]},
	  {"address": "aws_eip.ip[\"a.b\"]", "mode": "managed", "type": "aws_eip", "depends_on": ["aws_instance.web"]}],
	  "child_modules": [{"address": "module.db", "resources": [
	    {"address": "module.db.aws_db_instance.this", "mode": "managed", "type": "aws_db_instance", "depends_on": ["aws_vpc.main"], "values": {"id": "/subscriptions/A/x"}}]}]}}}`
	const state = `{"version": 4, "resources": [
	  {"mode": "managed", "type": "aws_vpc", "name": "main", "instances": [{"attributes": {"arn": "arn:aws:ec2:eu-west-1:1:vpc/vpc-1"}}]},
	  {"mode": "data", "type": "aws_ami", "name": "x", "instances": [{}]},
	  {"mode": "managed", "type": "aws_instance", "name": "web", "instances": [
	    {"index_key": 0, "dependencies": ["aws_vpc.main", "data.aws_ami.x", "module.db.aws_db_instance.this"]}, {"index_key": 1, "dependencies": ["aws_vpc.main"]}]},
	  {"mode": "managed", "type": "aws_eip", "name": "ip", "instances": [{"index_key": "a.b", "dependencies": ["aws_instance.web"]}]},
	  {"module": "module.db", "mode": "managed", "type": "aws_db_instance", "name": "this", "instances": [{"dependencies": ["aws_vpc.main"]}]}]}`
	const want = `aws_eip.ip["a.b"]>aws_instance.web[0] aws_eip.ip["a.b"]>aws_instance.web[1] aws_instance.web[0]>aws_vpc.main aws_instance.web[0]>module.db.aws_db_instance.this ` +
		`aws_instance.web[1]>aws_vpc.main module.db.aws_db_instance.this>aws_vpc.main`
	for _, text := range []string{shown, state} {
		found, err := graph.FromTerraform("prod", []byte(text))
		if got := links(found); err != nil || got != want {
			t.Errorf("%v\n got %s\nwant %s", err, got, want)
		}
		for _, l := range found {
			if l.To.Name == "aws_vpc.main" && !slices.Equal(l.To.Aliases, []string{"arn:aws:ec2:eu-west-1:1:vpc/vpc-1", "terraform:prod/aws_vpc.main"}) {
				t.Errorf("the network is %+v", l.To)
			}
		}
	}
	if found, err := graph.FromTerraform("prod", []byte(`{"format_version": "1.0"}`)); err != nil || found != nil {
		t.Errorf("an empty state: %v, %v", found, err)
	}
	for _, bad := range []string{`{}`, `[]`, `{"version": 3}`} {
		if _, err := graph.FromTerraform("prod", []byte(bad)); !errors.Is(err, ops.ErrInvalid) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(template)
	f.Add(`{"version": 4, "resources": []}`)
	f.Fuzz(func(t *testing.T, text string) {
		for _, load := range []func() ([]graph.Link, error){
			func() ([]graph.Link, error) { return graph.FromCloudFormation("s", []byte(text), []byte(text)) },
			func() ([]graph.Link, error) { return graph.FromTerraform("s", []byte(text)) },
		} {
			found, err := load()
			if err != nil && !errors.Is(err, ops.ErrInvalid) {
				t.Errorf("%v has no class", err)
			}
			for _, l := range found {
				if l.From.Name == l.To.Name && l.From.Name == "" {
					t.Errorf("a link between nothings: %+v", l)
				}
			}
		}
	})
}
