package rt

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
)

// text is a value Request Tracker writes as a string in one place and as a
// number in the next.
type text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *text) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		var s string
		err := json.Unmarshal(b, &s)
		*t = text(s)
		return err
	}
	var n json.Number
	err := json.Unmarshal(b, &n)
	*t = text(n)
	return err
}

func (t text) number() int64 {
	n, err := strconv.ParseInt(string(t), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// stamp is a time. One that is not set is shown as the beginning of 1970.
type stamp struct{ time.Time }

// UnmarshalJSON implements json.Unmarshaler.
func (s *stamp) UnmarshalJSON(b []byte) error {
	var v string
	if err := json.Unmarshal(b, &v); err != nil || v == "" {
		return err
	}
	t, err := time.Parse(time.RFC3339, v)
	if err == nil && t.Unix() != 0 {
		s.Time = t.UTC()
	}
	return err
}

// dateLayout is the only form in which dates are stored: one with T and Z is
// confirmed and then dropped.
const dateLayout = "2006-01-02 15:04:05"

type object struct {
	ID text `json:"id"`
}

type link struct {
	Ref string `json:"ref"`
}

type customField struct {
	Name   string `json:"name"`
	Values []any  `json:"values"`
}

// ticket is GET /ticket/<id>.
type ticket struct {
	ID            text          `json:"id"`
	Subject       string        `json:"Subject"`
	Status        string        `json:"Status"`
	Priority      text          `json:"Priority"`
	Owner         object        `json:"Owner"`
	Queue         object        `json:"Queue"`
	LastUpdatedBy object        `json:"LastUpdatedBy"`
	LastUpdated   stamp         `json:"LastUpdated"`
	Created       stamp         `json:"Created"`
	Started       stamp         `json:"Started"`
	Resolved      stamp         `json:"Resolved"`
	Starts        stamp         `json:"Starts"`
	Due           stamp         `json:"Due"`
	CustomFields  []customField `json:"CustomFields"`
	Links         []link        `json:"_hyperlinks"`

	etag  string // id of the last transaction
	queue string // name of Queue, when groups are carried
}

func (t *ticket) complete() bool {
	return t.ID != "" && t.Status != "" && t.Queue.ID != "" && !t.LastUpdated.IsZero()
}

// field returns the value of a custom field; of several values, one a line.
func (t *ticket) field(name string) string {
	for _, f := range t.CustomFields {
		if f.Name == name {
			return f.value()
		}
	}
	return ""
}

func (f customField) value() string {
	var lines []string
	for _, v := range f.Values {
		if s, ok := v.(string); ok { // files and pictures are objects
			lines = append(lines, s)
		}
	}
	return strings.Join(lines, "\n")
}

// queue is GET /queue/<name>. TicketCustomFields holds those the account may see.
type queue struct {
	ID                 text          `json:"id"`
	Name               string        `json:"Name"`
	Disabled           text          `json:"Disabled"`
	TicketCustomFields []customField `json:"TicketCustomFields"`
	Links              []link        `json:"_hyperlinks"`
}

func (q *queue) complete() bool { return q.ID != "" && q.Name != "" }

func (q *queue) has(field string) bool {
	return slices.ContainsFunc(q.TicketCustomFields, func(f customField) bool { return f.Name == field })
}

func linked(links []link, ref string) bool {
	return slices.ContainsFunc(links, func(l link) bool { return l.Ref == ref })
}

// person is GET /user/<name or id>.
type person struct {
	Name string `json:"Name"`
}

func (p *person) complete() bool { return p.Name != "" }

// about is GET /rt.
type about struct {
	Version string `json:"Version"`
}

func (a *about) complete() bool { return a.Version != "" }

// made is the answer to a create.
type made struct {
	ID text `json:"id"`
}

func (m *made) complete() bool { return m.ID != "" }

// found is a page of a list. Without the right to see everything, total and
// pages are null and a page may be short before the last; neither is read.
type found[T any] struct {
	Items []T `json:"items"`
}

func (f *found[T]) complete() bool { return f.Items != nil }

// transaction is one entry of a ticket's history.
type transaction struct {
	ID text `json:"id"`
	// Class is always "transaction". Without a field of its own, encoding/json
	// would put it into Type, whichever of the two came last.
	Class    string `json:"type"`
	Type     string `json:"Type"`
	ObjectID text   `json:"ObjectId"`
	Creator  object `json:"Creator"`
	Created  stamp  `json:"Created"`
}

const transactionFields = "Type,ObjectId,Creator,Created"

// isNote tells a message by a person from a field that was set.
func (t transaction) isNote() bool { return t.Type == "Comment" || t.Type == "Correspond" }

// attachment is a part of a message; the text itself is one.
type attachment struct {
	ID            text   `json:"id"`
	TransactionID text   `json:"TransactionId"`
	ContentType   string `json:"ContentType"`
	Filename      string `json:"Filename"`
	Content       string `json:"Content"`
}

// attachmentFields leaves Parent out: asking for it ends in a 500.
const attachmentFields = "TransactionId,ContentType,Filename,Content"

// The searches, in Request Tracker's query language.
