package opscentertest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fettleops/fettle/connector/opscenter/opscentertest"
)

func start(now *time.Time) *opscentertest.Service {
	*now = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	return opscentertest.New(func() time.Time { return *now })
}

const opened = `{"Title":"t","Description":"d","Source":"Fettle","OperationalData":{"/aws/dedup":{"Type":"SearchableString","Value":"{\"dedupString\":\"one\"}"},"open":{"Type":"String","Value":"x"},"found":{"Type":"SearchableString","Value":"y"}}}`

func create(t *testing.T, s *opscentertest.Service, body string) string {
	t.Helper()
	code, out := s.Call(t, "fettle", "CreateOpsItem", body)
	if code != http.StatusOK {
		t.Fatalf("create: %d %v", code, out)
	}
	return fmt.Sprint(out["OpsItemId"])
}

// What the API reference says is refused, by raw calls.
func TestRefusals(t *testing.T) {
	var now time.Time
	s := start(&now)
	id := create(t, s, opened)
	f := func(operation, body, want string) {
		t.Helper()
		code, out := s.Call(t, "fettle", operation, strings.ReplaceAll(body, "$ID", id))
		got := fmt.Sprint(code, " ", out["__type"])
		if code == http.StatusOK {
			got = "200"
		}
		if got != want {
			t.Errorf("%s %.120s: %s (%v), want %s", operation, body, got, out["Message"], want)
		}
	}
	const (
		validation = "400 ValidationException"
		parameter  = "400 OpsItemInvalidParameterException"
		missing    = "400 OpsItemNotFoundException"
	)
	long := strings.Repeat("x", 2049)
	with := func(more string) string { return `{"Title":"t","Description":"d","Source":"Fettle",` + more + `}` }
	entry := func(name, kind, value string) string {
		return with(fmt.Sprintf(`"OperationalData":{"%s":{"Type":"%s","Value":"%s"}}`, name, kind, value))
	}

	f("CreateOpsItem", `{`, "400 SerializationException")
	f("CreateOpsItem", `{"Title":1}`, "400 SerializationException")
	f("CreateOpsItem", `{}`, validation)
	f("CreateOpsItem", `{"Title":"t","Source":"Fettle"}`, validation)
	f("CreateOpsItem", `{"Title":" ","Description":"d","Source":"Fettle"}`, validation)
	f("CreateOpsItem", `{"Title":"`+long[:1025]+`","Description":"d","Source":"Fettle"}`, validation)
	f("CreateOpsItem", `{"Title":"t","Description":"`+long+`","Source":"Fettle"}`, validation)
	f("CreateOpsItem", `{"Title":"t","Description":"d","Source":"my AWS"}`, parameter)
	f("CreateOpsItem", `{"Title":"t","Description":"d","Source":"Amazonia"}`, parameter)
	f("CreateOpsItem", with(`"Category":"Weather"`), parameter)
	f("CreateOpsItem", with(`"Severity":"5"`), parameter)
	f("CreateOpsItem", with(`"Priority":6`), validation)
	f("CreateOpsItem", with(`"OpsItemType":"/aws/else"`), parameter)
	f("CreateOpsItem", with(`"PlannedStartTime":1796162400`), parameter)
	f("CreateOpsItem", with(`"Notifications":[{"Arn":"ops@example.com"}]`), parameter)
	f("CreateOpsItem", entry(strings.Repeat("k", 129), "String", "v"), validation)
	f("CreateOpsItem", entry("k", "Number", "v"), validation)
	f("CreateOpsItem", entry("k", "String", ""), parameter)
	f("CreateOpsItem", entry("k", "String", strings.Repeat("v", 20<<10+1)), parameter)
	f("CreateOpsItem", entry("k", "String", strings.Repeat("v", 20<<10)), "200")
	for _, name := range []string{"aws-x", "amazon", "amzn", "ssm", "/aws/x", "/amazon/x", "/amzn", "/ssm/x"} {
		f("CreateOpsItem", entry(name, "String", "v"), parameter)
	}
	f("CreateOpsItem", entry("/aws/dedup", "SearchableString", "one"), parameter)
	f("CreateOpsItem", entry("/aws/resources", "SearchableString", "web-1"), parameter)
	f("CreateOpsItem", entry("/aws/resources", "SearchableString", `[{\"arn\":\"web-1\"}]`), parameter)
	f("CreateOpsItem", entry("/aws/resources", "SearchableString", `[{\"arn\":\"arn:aws:ec2:eu-central-1:1:instance/i-1\"}]`), "200")
	f("CreateOpsItem", entry("/aws/automations", "SearchableString", "Runbook"), parameter)
	f("CreateOpsItem", opened, "400 OpsItemAlreadyExistsException")

	f("GetOpsItem", `{}`, validation)
	f("GetOpsItem", `{"OpsItemId":"INC0001"}`, validation)
	f("GetOpsItem", `{"OpsItemId":"oi-000000000000"}`, missing)
	f("GetOpsItem", `{"OpsItemId":"$ID"}`, "200")

	f("UpdateOpsItem", `{"OpsItemId":"oi-000000000000","Title":"t"}`, missing)
	f("UpdateOpsItem", `{"OpsItemId":"$ID","Status":"Done"}`, validation)
	f("UpdateOpsItem", `{"OpsItemId":"$ID","Status":"Approved"}`, parameter)
	f("UpdateOpsItem", `{"OpsItemId":"$ID","Title":""}`, validation)
	f("UpdateOpsItem", `{"OpsItemId":"$ID","Severity":"high"}`, parameter)
	f("UpdateOpsItem", `{"OpsItemId":"$ID","PlannedEndTime":1796162400}`, parameter)
	f("UpdateOpsItem", `{"OpsItemId":"$ID","OperationalData":{"/aws/dedup":{"Type":"SearchableString","Value":"{\"dedupString\":\"two\"}"}}}`, parameter)
	f("UpdateOpsItem", `{"OpsItemId":"$ID","OperationalDataToDelete":["/aws/dedup"]}`, parameter)
	f("UpdateOpsItem", `{"OpsItemId":"$ID","OperationalData":{"ssm-x":{"Type":"String","Value":"v"}}}`, parameter)
	f("UpdateOpsItem", `{"OpsItemId":"$ID","Status":"InProgress"}`, "200")

	f("DescribeOpsItems", `{"MaxResults":51}`, validation)
	f("DescribeOpsItems", `{"MaxResults":0}`, validation)
	f("DescribeOpsItems", `{"NextToken":"x"}`, "400 InvalidNextToken")
	f("DescribeOpsItems", `{"OpsItemFilters":[{"Key":"Colour","Operator":"Equal","Values":["x"]}]}`, validation)
	f("DescribeOpsItems", `{"OpsItemFilters":[{"Key":"Status","Operator":"Contains","Values":["x"]}]}`, parameter)
	f("DescribeOpsItems", `{"OpsItemFilters":[{"Key":"Status","Operator":"Equal"}]}`, validation)
	f("DescribeOpsItems", `{"OpsItemFilters":[{"Key":"LastModifiedTime","Operator":"GreaterThan","Values":["yesterday"]}]}`, parameter)
	f("DescribeOpsItems", `{"OpsItemFilters":[{"Key":"LastModifiedTime","Operator":"Equal","Values":["2026-11-22T09:00:00Z"]}]}`, parameter)
	f("DescribeOpsItems", `{"OpsItemFilters":[{"Key":"OperationalData","Operator":"Equal","Values":["{'key':'k','value':'v'}"]}]}`, parameter)
	f("DescribeOpsItems", `{"OpsItemFilters":[{"Key":"Title","Operator":"Equal","Values":["`+long[:101]+`"]}]}`, parameter)
	f("DescribeOpsItems", `{}`, "200")

	f("GetMaintenanceWindow", `{"WindowId":"window"}`, validation)
	f("GetMaintenanceWindow", `{"WindowId":"mw-0123456789abcdef0"}`, "400 DoesNotExistException")
	f("DeleteOpsItem", `{"OpsItemId":"oi-000000000000"}`, "200") // answered alike
	f("StartAutomationExecution", `{}`, "400 UnknownOperationException")

	s.Deny("GetOpsItem", true)
	f("GetOpsItem", `{"OpsItemId":"$ID"}`, "400 AccessDeniedException")
	s.Deny("GetOpsItem", false)
	s.Throttle(1)
	f("GetOpsItem", `{"OpsItemId":"$ID"}`, "400 ThrottlingException")
	f("GetOpsItem", `{"OpsItemId":"$ID"}`, "200")
	s.Limit = len(s.Items())
	f("CreateOpsItem", entry("k", "String", "v"), "400 OpsItemLimitExceededException")
}

// Who does not sign is refused before anything else.
func TestSignature(t *testing.T) {
	var now time.Time
	s := start(&now)
	s.Region = "eu-central-1"
	f := func(want string, change func(r *http.Request)) {
		t.Helper()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader("{}"))
		r.Header.Set("Content-Type", "application/x-amz-json-1.1")
		r.Header.Set("X-Amz-Target", "AmazonSSM.DescribeOpsItems")
		opscentertest.Sign(r, "fettle")
		change(r)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%d %s, want %s", w.Code, w.Body, want)
		}
	}
	f("OpsItemSummaries", func(*http.Request) {})
	f("MissingAuthenticationToken", func(r *http.Request) { r.Header.Del("Authorization") })
	f("IncompleteSignature", func(r *http.Request) { r.Header.Set("Authorization", "Basic Zm9v") })
	f("IncompleteSignature", func(r *http.Request) { r.Header.Del("X-Amz-Date") })
	f("UnrecognizedClient", func(r *http.Request) { opscentertest.Sign(r, "stranger") })
	f("valid region", func(r *http.Request) {
		r.Header.Set("Authorization", strings.ReplaceAll(r.Header.Get("Authorization"), "eu-central-1", "us-east-1"))
	})
	f("UnknownOperation", func(r *http.Request) { r.Header.Set("Content-Type", "application/json") })
	f("UnknownOperation", func(r *http.Request) { r.Header.Set("X-Amz-Target", "DynamoDB.ListTables") })
	f("UnknownOperation", func(r *http.Request) { r.Method = http.MethodGet })
}

// A dedup string holds as long as its item is not resolved, for one resource.
func TestDedup(t *testing.T) {
	var now time.Time
	s := start(&now)
	id := create(t, s, opened)
	f := func(status, want string) {
		t.Helper()
		s.Edit(t, "anna", id, map[string]any{"Status": status}, nil)
		code, out := s.Call(t, "fettle", "CreateOpsItem", opened)
		if got := fmt.Sprint(code, " ", out["OpsItemId"] == id); got != want {
			t.Errorf("while it is %s: %s (%v), want %s", status, got, out, want)
		}
	}
	f("Open", "400 true")
	f("InProgress", "400 true")
	f("Resolved", "200 false")
	other := strings.Replace(opened, `"open":`, `"/aws/resources":{"Type":"SearchableString","Value":"[{\"arn\":\"arn:aws:ec2:r:1:instance/i-1\"}]"},"open":`, 1)
	if create(t, s, other) == id {
		t.Error("another resource met the same item")
	}
}

// Lists lag behind, come in pages and show only what is searchable.
func TestLists(t *testing.T) {
	var now time.Time
	s := start(&now)
	s.Lag = time.Minute
	for n := range 5 {
		create(t, s, strings.Replace(opened, `"one\`, fmt.Sprintf(`"s%d\`, n), 1))
	}
	list := func(body string) (n, pages int, last map[string]any) {
		t.Helper()
		token := ""
		for {
			code, out := s.Call(t, "fettle", "DescribeOpsItems", strings.Replace(body, "$TOKEN", token, 1))
			if code != http.StatusOK {
				t.Fatalf("list: %v", out)
			}
			for _, i := range out["OpsItemSummaries"].([]any) {
				n, last = n+1, i.(map[string]any)
			}
			pages++
			if token, _ = out["NextToken"].(string); token == "" {
				return n, pages, last
			}
		}
	}
	const all = `{"MaxResults":2,"NextToken":"$TOKEN"}`
	if n, _, _ := list(all); n != 0 {
		t.Errorf("%d are listed at once", n)
	}
	now = now.Add(time.Minute)
	n, pages, last := list(all)
	if n != 5 || pages != 3 {
		t.Errorf("%d in %d pages", n, pages)
	}
	data := last["OperationalData"].(map[string]any)
	if _, shown := last["Description"]; shown || data["open"] != nil || data["found"] == nil {
		t.Errorf("a list shows %v", last)
	}
	s.Edit(t, "anna", fmt.Sprint(last["OpsItemId"]), map[string]any{"Title": "edited"}, nil)
	since := fmt.Sprintf(`{"OpsItemFilters":[{"Key":"LastModifiedTime","Operator":"GreaterThan","Values":["%s"]}],"NextToken":"$TOKEN"}`, now.Add(-time.Second).Format(time.RFC3339))
	if n, _, _ := list(since); n != 0 {
		t.Errorf("%d edits are listed at once", n)
	}
	if n, _, _ := list(`{"OpsItemFilters":[{"Key":"Title","Operator":"Equal","Values":["t"]}],"NextToken":"$TOKEN"}`); n != 5 {
		t.Errorf("%d are listed as they were", n)
	}
	now = now.Add(time.Minute)
	if n, _, last := list(since); n != 1 || last["Title"] != "edited" || last["LastModifiedBy"] != opscentertest.ARN("anna") {
		t.Errorf("%d edits are listed, the last %v", n, last)
	}
}
