package simulator

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseQuery(t *testing.T) {
	f := func(text string, want encodedQuery) {
		t.Helper()
		if got := parseQuery(text); !reflect.DeepEqual(got, want) {
			t.Errorf("parseQuery(%q) =\n%+v, want\n%+v", text, got, want)
		}
	}
	one := func(field, op, value string) [][][]term { return [][][]term{{{{field, op, value}}}} }
	f("", encodedQuery{})
	f("^", encodedQuery{})
	f("a=1", encodedQuery{sets: one("a", "=", "1")})
	f("a=", encodedQuery{sets: one("a", "=", "")})
	f("a!=1", encodedQuery{sets: one("a", "!=", "1")})
	f("a<=1", encodedQuery{sets: one("a", "<=", "1")})
	f("a.b_c>1", encodedQuery{sets: one("a.b_c", ">", "1")})
	f("aNOT LIKEx=y", encodedQuery{sets: one("a", "NOT LIKE", "x=y")})
	f("aINx,y", encodedQuery{sets: one("a", "IN", "x,y")})
	f("aNOT INx", encodedQuery{sets: one("a", "NOT IN", "x")})
	f("aNSAMEASb", encodedQuery{sets: one("a", "NSAMEAS", "b")})
	f("aONToday", encodedQuery{sets: one("a", "ON", "Today")})
	f("aIN_HIERARCHYx", encodedQuery{sets: one("a", "IN_HIERARCHY", "x")})
	f("a=x^^y", encodedQuery{sets: one("a", "=", "x^y")})
	f("a=x^^^b=2", encodedQuery{sets: [][][]term{{{{"a", "=", "x^"}}, {{"b", "=", "2"}}}}})
	f("a=1^EQ", encodedQuery{sets: one("a", "=", "1")})
	f("a=1^b=2^ORc=3^NQd=4", encodedQuery{sets: [][][]term{
		{{{"a", "=", "1"}}, {{"b", "=", "2"}, {"c", "=", "3"}}},
		{{{"d", "=", "4"}}},
	}})
	f("ORDERBYa^ORDERBYDESCb^c=1", encodedQuery{
		sets: one("c", "=", "1"), order: []ordering{{"a", false}, {"b", true}},
	})
	f("A=1", encodedQuery{sets: [][][]term{nil}, invalid: 1})
	f("a~1^b=2", encodedQuery{sets: one("b", "=", "2"), invalid: 1})
	f("a=1^NQ~", encodedQuery{sets: [][][]term{{{{"a", "=", "1"}}}, nil}, invalid: 1})
}

// TestConditions covers what the exchanges leave out of the operators.
func TestConditions(t *testing.T) {
	s := New(Config{Clock: func() time.Time { return clockStart }})
	who := s.account("fettle")
	def := s.schema["incident"]
	r := Record{
		"number": "INC0010001", "urgency": "2", "impact": "10", "opened_at": "2026-03-02 08:00:00",
		"due_date": "2026-03-05 08:00:00", "caller_id": who.sysID, "short_description": "disk",
	}
	f := func(query string, want bool) {
		t.Helper()
		q := s.bind(parseQuery(query), def, who)
		if len(q.sets) != 1 || len(q.sets[0]) != 1 {
			t.Errorf("%s was not understood", query)
			return
		}
		if got := q.matches(r); got != want {
			t.Errorf("%s = %v, want %v", query, got, want)
		}
	}
	f("impact>9", true) // as numbers, not as text
	f("impactBETWEEN2@10", true)
	f("impactBETWEEN10@11", true)
	f("impactBETWEEN11@12", false)
	f("impact>10", false)
	f("impact>=10", true)
	f("impact<10", false)
	f("impact<=10", true)
	f("due_date<opened_at", true) // not a field but a value: text order
	f("resolved_at<2030-01-01 00:00:00", false)
	f("resolved_at!=x", true)
	f("caller_idDYNAMIC54635e965f510100a9ad2572f2b4774c", true)
	f("caller_id.name=Fettle Integration", true)
	f("caller_idSTARTSWITHFettle", true)
	f("opened_atSAMEASdue_date@day", false)
	f("opened_atNSAMEASdue_date", true)
	f("opened_at>=javascript:gs.daysAgoStart(0)", true)
	f("opened_at<javascript:gs.dateGenerate('2026-03-02','08:00:01')", true)
	f("opened_atON2026-03-02", true)
	f("opened_atRELATIVEGT@hour@ago@4", false) // exactly four hours is not after
	f("opened_atRELATIVEGT@hour@ago@5", true)
	f("due_dateRELATIVEGT@day@ahead@2", true)
	f("due_dateRELATIVELT@week@ahead@1", true)
	f("opened_atRELATIVEGT@month@ago@1", true)
	f("opened_atRELATIVELT@quarter@ago@1", false)
	f("opened_atRELATIVELT@year@ago@1", false)
	f("opened_atDATEPARTMarch@javascript:gs.datePart('month','march','EE')", true)
	f("opened_atDATEPARTMonday@javascript:gs.datePart('dayofweek','monday','GT')", false)
	f("opened_atDATEPARTMonday@javascript:gs.datePart('dayofweek','sunday','GE')", true)
	f("opened_atDATEPART8@javascript:gs.datePart('hour','9','LT')", true)
	f("opened_atDATEPART2026@javascript:gs.datePart('year','2026','LE')", true)
	f("opened_atDATEPART8@javascript:gs.datePart('hour','8','LT')", false)
	f("opened_atDATEPART8@javascript:gs.datePart('hour','8','LE')", true)
	f("opened_atDATEPART8@javascript:gs.datePart('hour','8','GE')", true)
	f("opened_atDATEPART8@javascript:gs.datePart('hour','8','GT')", false)
	f("resolved_atDATEPART0@javascript:gs.datePart('hour','0','EE')", false)
	f("resolved_atMORETHANdue_date@day@before@2", false)
	f("due_dateMORETHANresolved_at@day@after@2", false)
	f("opened_atMORETHANdue_date@day@before@2", true)
	f("opened_atMORETHANdue_date@day@before@3", false)
	f("opened_atLESSTHANdue_date@day@before@3", true)
	f("due_dateMORETHANopened_at@hour@after@71", true)
	f("opened_atMORETHANdue_date@hour@after@1", false)

	ignored := func(query string) {
		t.Helper()
		q := s.bind(parseQuery(query), def, who)
		if !q.matches(r) || len(q.sets) > 0 && len(q.sets[0]) > 0 {
			t.Errorf("%s was understood", query)
		}
	}
	ignored("number=javascript:gs.sleep(1000)")
	ignored("number=javascript:gs.daysAgoStart(x)")
	ignored("number=javascript:gs.daysAgoStart(99999999999)")
	ignored("opened_at<javascript:gs.dateGenerate('2026-03-02')")
	ignored("opened_at<javascript:gs.other('2026-03-02','08:00:01')")
	ignored("number.name=x")
	ignored("caller_id.nothing=x")
	ignored("caller_idIN_HIERARCHYx")
	ignored("numberDYNAMIC90d1921e5f510100a9ad2572f2b477fe")
	ignored("caller_idDYNAMICsomebody")
	ignored("numberBETWEENa")
	ignored("numberON2026-03-02")
	ignored("opened_atONyesterday")
	ignored("opened_atONa@b")
	ignored("opened_atONx@javascript:gs.daysAgoStart(0)@javascript:gs.never()")
	ignored("opened_atONx@javascript:gs.never()@javascript:gs.daysAgoEnd(0)")
	ignored("opened_atBETWEENjavascript:gs.never()@2026-03-02 00:00:00")
	ignored("opened_atBETWEEN2026-03-02 00:00:00@javascript:gs.never()")
	ignored("opened_atRELATIVEGT@fortnight@ago@1")
	ignored("opened_atRELATIVEGT@hour@ago@-1")
	ignored("opened_atRELATIVEGT@hour@since@1")
	ignored("opened_atDATEPARTx@javascript:gs.datePart('month','brumaire','EE')")
	ignored("opened_atDATEPARTx@javascript:gs.datePart('dayofweek','someday','EE')")
	ignored("opened_atDATEPARTx@javascript:gs.datePart('hour','noon','EE')")
	ignored("opened_atDATEPARTx@javascript:gs.datePart('hour','9','XX')")
	ignored("opened_atDATEPARTx@javascript:gs.datePart('era','9','EE')")
	ignored("opened_atMORETHANnumber@day@before@1")
	ignored("opened_atMORETHANdue_date@eon@before@1")
	ignored("opened_atMORETHANdue_date@day@beside@1")
	ignored("numberSAMEASnothing")
	ignored("numberSAMEASurgency@day")
}

// FuzzQuery checks what must hold for every query: no panic, the same reading
// each time, and that an AND-ed condition never widens the result.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{
		"", "active=true^ORDERBYnumber", "a=b^^c", "^^^", "urgency=1^ORurgency=2^NQstate=1^ORDERBYDESCsys_updated_on",
		"sys_created_onRELATIVEGT@hour@ago@1", "sys_created_onONToday@javascript:gs.daysAgoStart(0)@javascript:gs.daysAgoEnd(0)",
		"opened_atDATEPARTMonday@javascript:gs.datePart('dayofweek','monday','EE')", "opened_atMORETHANdue_date@day@before@1",
		"urgencyBETWEEN1@2", "assignment_group.manager.nameLIKEx", "numberNOT INa,b", "sys_id=javascript:gs.getUserID()",
	} {
		f.Add(seed)
	}
	s := New(Config{Clock: func() time.Time { return clockStart }, Rows: incidentRows()})
	def := s.schema["incident"]
	who := s.account("fettle")
	f.Fuzz(func(t *testing.T, text string) {
		parsed := parseQuery(text)
		if again := parseQuery(text); !reflect.DeepEqual(parsed, again) {
			t.Fatalf("%q reads as %+v and as %+v", text, parsed, again)
		}
		terms := parsed.invalid
		for _, set := range parsed.sets {
			for _, group := range set {
				terms += len(group)
			}
		}
		if most := 1 + strings.Count(text, "^"); terms+len(parsed.order) > most {
			t.Fatalf("%q has %d parts, but %d were read", text, most, terms+len(parsed.order))
		}
		q := s.bind(parsed, def, who)
		narrow := s.bind(parsed, def, who)
		narrow.and(func(r Record) bool { return r["urgency"] == "1" })
		rows := slices.Clone(s.tables["incident"].order)
		for _, r := range rows {
			if got := narrow.matches(r.values); got != (q.matches(r.values) && r.values["urgency"] == "1") {
				t.Fatalf("%q and a condition is %v for %s", text, got, r.values["number"])
			}
		}
		q.sort(rows)
		if len(rows) != 3 {
			t.Fatalf("sorting left %d rows of 3", len(rows))
		}
	})
}
