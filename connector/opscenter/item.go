package opscenter

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
)

// The limits of the API reference of Systems Manager, in characters, and of
// operational data in bytes.
const (
	maxTitle       = 1024
	maxDescription = 2048
	maxValue       = 20 << 10
)

var noteID = regexp.MustCompile(`^[0-9A-Za-z._:-]+$`)

// data returns an entry of the operational data.
func data(i *types.OpsItem, name string) string { return aws.ToString(i.OperationalData[name].Value) }

// searchable are the names that lists are filtered by.
var searchable = []string{keyData, installationData, kindData, dedupData, resourcesData, automationsData}

// put sets an entry; a value that is too long is cut.
func put(into map[string]types.OpsItemDataValue, name, value string) {
	kind := types.OpsItemDataTypeString
	if slices.Contains(searchable, name) || slices.Contains(icco, name) {
		kind = types.OpsItemDataTypeSearchableString
	}
	into[name] = types.OpsItemDataValue{Type: kind, Value: aws.String(cutBytes(value, maxValue))}
}

func cutBytes(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "")
}

func cutRunes(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most])
	}
	return s
}

// The states. An OpsItem has three; ours is kept beside and counts as long as
// the status is the one it is written as.

func statusOf(state string) types.OpsItemStatus {
	switch ops.IncidentState(state) {
	case ops.IncidentInProgress, ops.IncidentOnHold:
		return types.OpsItemStatusInProgress
	case ops.IncidentResolved, ops.IncidentClosed, ops.IncidentCancelled:
		return types.OpsItemStatusResolved
	}
	return types.OpsItemStatusOpen
}

func stateOf(i *types.OpsItem) string {
	kept := data(i, stateData)
	if _, err := ops.ParseIncidentState(kept); err == nil && statusOf(kept) == i.Status {
		return kept
	}
	switch i.Status {
	case types.OpsItemStatusOpen:
		return string(ops.IncidentNew)
	case types.OpsItemStatusResolved:
		return string(ops.IncidentResolved)
	case types.OpsItemStatusClosed:
		return string(ops.IncidentClosed)
	}
	return string(ops.IncidentInProgress)
}

func isOver(state string) bool {
	return state == string(ops.IncidentResolved) || state == string(ops.IncidentClosed)
}

// numbers are the severities of OpsItems; two of ours share the last.
var numbers = map[ops.Severity]string{ops.Critical: "1", ops.High: "2", ops.Medium: "3", ops.Low: "4", ops.Info: "4"}

func severityOf(i *types.OpsItem) ops.Severity {
	shown := aws.ToString(i.Severity)
	if kept := ops.Severity(data(i, severityData)); shown != "" && numbers[kept] == shown {
		return kept
	}
	for _, s := range []ops.Severity{ops.Critical, ops.High, ops.Medium, ops.Low} {
		if numbers[s] == shown {
			return s
		}
	}
	return ""
}

// ours are the fields kept in operational data under configured names.
func (o *Options) ours() map[connector.Field]string {
	return map[connector.Field]string{
		connector.Resource: o.Keys.Resource, connector.Group: o.Keys.Group, connector.Assignee: o.Keys.Assignee,
		connector.ResolveCode: o.Keys.ResolveCode, connector.ResolveNote: o.Keys.ResolveNote,
		connector.PlannedStart: o.Window.Start, connector.PlannedEnd: o.Window.End,
	}
}

// isExtra tells operational data that is none of our fields.
func (o *Options) isExtra(name string) bool {
	return !strings.HasPrefix(name, "fettle") && !strings.HasPrefix(name, "/") && !strings.HasPrefix(name, o.Keys.Comment) &&
		!slices.Contains(slices.Collect(maps.Values(o.ours())), name) && name != o.Window.Details
}

// fieldsOf returns an OpsItem in our words.
func (p *platform) fieldsOf(ctx context.Context, i *types.OpsItem) (ops.TicketFields, error) {
	f := ops.TicketFields{Title: aws.ToString(i.Title), Description: describedBy(i), State: stateOf(i), Severity: severityOf(i)}
	for field, name := range p.o.ours() {
		if field != connector.PlannedStart && field != connector.PlannedEnd {
			f = connector.With(f, field, data(i, name))
		}
	}
	extra := map[string]string{}
	for name := range i.OperationalData {
		if v := data(i, name); v != "" && p.o.isExtra(name) {
			extra[name] = v
		}
	}
	start, end, unread, err := p.window(ctx, i)
	if err != nil {
		return f, err
	}
	f.PlannedStart, f.PlannedEnd = start, end
	for _, name := range unread {
		extra[name] = data(i, name) // people see in Fettle what cannot be read
	}
	if len(extra) > 0 {
		f.Extra = extra
	}
	return f, nil
}

const cutMark = "\n\n... the whole is in the operational data " + descriptionData + "."

// shownDescription returns what stands in the description for a text.
func shownDescription(text string) string {
	if len([]rune(text)) <= maxDescription {
		return text
	}
	return cutRunes(text, maxDescription-len(cutMark)) + cutMark
}

// describedBy returns the whole of a description, unless somebody wrote another.
func describedBy(i *types.OpsItem) string {
	shown := aws.ToString(i.Description)
	if whole := data(i, descriptionData); whole != "" && shownDescription(whole) == shown {
		return whole
	}
	return shown
}

var oneLine = strings.NewReplacer("\r\n", " ", "\n", " ", "\r", " ").Replace

// Normal implements connector.Normaliser.
func (p *platform) Normal(f, seen ops.TicketFields) ops.TicketFields {
	f.Title = strings.TrimSpace(cutRunes(strings.TrimSpace(oneLine(f.Title)), maxTitle))
	f.Description = cutBytes(f.Description, maxValue)
	if f.Description == "" {
		f.Description = seen.Description // an OpsItem cannot be without
	}
	if f.State == "" {
		f.State = seen.State
	}
	if f.Severity == "" {
		f.Severity = seen.Severity
	}
	for field := range p.o.ours() {
		if v := connector.Value(f, field); len(v) > maxValue {
			f = connector.With(f, field, cutBytes(v, maxValue))
		}
	}
	for _, field := range []connector.Field{connector.PlannedStart, connector.PlannedEnd} {
		if connector.Value(f, field) == "" {
			f = connector.With(f, field, connector.Value(seen, field))
		}
	}
	for _, field := range []connector.Field{connector.Type, connector.Risk, connector.ActualStart, connector.ActualEnd, connector.Plan, connector.PlanText, connector.Rollback} {
		f = connector.With(f, field, connector.Value(seen, field))
	}
	extra := maps.Clone(seen.Extra)
	if extra == nil {
		extra = map[string]string{}
	}
	for name, v := range f.Extra {
		if p.o.isExtra(name) {
			extra[name] = cutBytes(v, maxValue)
		}
	}
	f.Extra = extra
	return f
}

// write puts what the changed fields of want are into operational data, and
// returns the names to take away.
func (o *Options) write(into map[string]types.OpsItemDataValue, want ops.TicketFields, changed []connector.Field) ([]string, error) {
	var gone []string
	set := func(name, value string) {
		if value == "" {
			gone = append(gone, name)
			return
		}
		put(into, name, value)
	}
	for _, f := range changed {
		v := connector.Value(want, f)
		name, isExtra := f.Extra()
		switch {
		case isExtra && (reserved.MatchString(name) || len(name) > maxKey):
			return nil, invalid("extra.%s: use at most %d characters that do not begin with aws, amazon, amzn or ssm", name, maxKey)
		case isExtra:
			set(name, v)
		case f == connector.State:
			set(stateData, v)
		case f == connector.Severity:
			if numbers[want.Severity] == "" {
				return nil, invalid("severity: %q is none of %v", v, ops.Severities)
			}
			set(severityData, v)
		case f == connector.Description:
			whole := ""
			if shownDescription(v) != v {
				whole = v
			}
			set(descriptionData, whole)
		case f != connector.Title:
			set(o.ours()[f], v)
		}
	}
	return gone, nil
}

// edit returns what to send so that the changed fields read as in want.
func (o *Options) edit(was *types.OpsItem, want ops.TicketFields, changed []connector.Field) (*ssm.UpdateOpsItemInput, error) {
	in := &ssm.UpdateOpsItemInput{OpsItemId: was.OpsItemId, OperationalData: map[string]types.OpsItemDataValue{}}
	gone, err := o.write(in.OperationalData, want, changed)
	if err != nil {
		return nil, err
	}
	for _, name := range gone {
		if _, there := was.OperationalData[name]; there {
			in.OperationalDataToDelete = append(in.OperationalDataToDelete, name)
		}
	}
	for _, f := range changed {
		switch f {
		case connector.Title:
			if want.Title == "" {
				return nil, invalid("title: an OpsItem needs one")
			}
			in.Title = &want.Title
		case connector.Description:
			in.Description = aws.String(shownDescription(want.Description))
		case connector.State:
			in.Status = statusOf(want.State)
		case connector.Severity:
			in.Severity = aws.String(numbers[want.Severity])
		}
	}
	if len(in.OperationalData) == 0 {
		in.OperationalData = nil
	}
	return in, nil
}

// opening returns the request that opens a ticket. An OpsItem begins open; what
// state it is to be in is written by the update that follows.
func (p *platform) opening(key string, kind ops.TicketKind, f ops.TicketFields) (*ssm.CreateOpsItemInput, error) {
	want := p.Normal(f, ops.TicketFields{})
	if want.Title == "" {
		return nil, invalid("title: an OpsItem needs one")
	}
	if want.Description == "" {
		want.Description = want.Title
	}
	if statusOf(want.State) != types.OpsItemStatusOpen {
		want.State = ""
	}
	in := &ssm.CreateOpsItemInput{
		Title: &want.Title, Description: aws.String(shownDescription(want.Description)), Source: &p.o.Source,
		Category: aws.String(p.o.category(kind, f)), OperationalData: map[string]types.OpsItemDataValue{},
	}
	if _, err := p.o.write(in.OperationalData, want, connector.Diff(want, ops.TicketFields{})); err != nil {
		return nil, err
	}
	if s := p.o.number(kind, f); s != "" {
		in.Severity = &s
	}
	put(in.OperationalData, keyData, key)
	put(in.OperationalData, installationData, p.env.Installation)
	put(in.OperationalData, kindData, string(kind))
	dedup, err := json.Marshal(map[string]string{"dedupString": key})
	if err != nil {
		return nil, fmt.Errorf("dedup string: %w: %w", err, ops.ErrInternal)
	}
	put(in.OperationalData, dedupData, string(dedup))
	if arns := f.Extra[resourcesData]; arns != "" {
		put(in.OperationalData, resourcesData, arns)
	}
	if kind == ops.TicketWorkOrder {
		put(in.OperationalData, helpData, p.o.help())
		if runbooks := automations(p.o.Runbooks); runbooks != "" {
			put(in.OperationalData, automationsData, runbooks)
		}
	}
	for _, arn := range p.o.Notify {
		in.Notifications = append(in.Notifications, types.OpsItemNotification{Arn: aws.String(arn)})
	}
	for _, k := range sorted(p.o.Tags) {
		in.Tags = append(in.Tags, types.Tag{Key: aws.String(k), Value: aws.String(p.o.Tags[k])})
	}
	return in, nil
}

// The notes.

func noteText(now time.Time, n ops.Note) string {
	author := strings.TrimSpace(oneLine(n.Author))
	if author == "" {
		author = ops.SystemPrincipal.Name
	}
	return now.UTC().Format(time.RFC3339Nano) + " " + author + "\n" + n.Text
}

// readNote takes apart what noteText wrote.
func readNote(text string) (at time.Time, author, rest string, ok bool) {
	first, rest, _ := strings.Cut(text, "\n")
	stamp, author, _ := strings.Cut(first, " ")
	at, err := time.Parse(time.RFC3339Nano, stamp)
	return at, author, rest, err == nil && author != ""
}

// ownNotes returns the names of our notes, oldest first.
func ownNotes(i *types.OpsItem) []string {
	at := map[string]time.Time{}
	for name := range i.OperationalData {
		if when, _, _, ok := readNote(data(i, name)); ok && strings.HasPrefix(name, noteData) {
			at[name] = when
		}
	}
	return slices.SortedFunc(maps.Keys(at), func(a, b string) int {
		if c := at[a].Compare(at[b]); c != 0 {
			return c
		}
		return strings.Compare(a, b)
	})
}

// notes returns the notes of an OpsItem, oldest first. Who wrote a comment of
// people is not kept anywhere: it is taken for that of whoever wrote last.
func (o *Options) notes(i *types.OpsItem, self string) []connector.Note {
	var out []connector.Note
	for _, name := range ownNotes(i) {
		at, author, text, _ := readNote(data(i, name))
		id := strings.TrimPrefix(name, noteData)
		out = append(out, connector.Note{Note: ops.Note{ID: id, At: at, Author: author, Text: text}, Own: true})
	}
	by := aws.ToString(i.LastModifiedBy)
	if sameIdentity(by, self) {
		by = ""
	}
	for _, name := range slices.Sorted(maps.Keys(i.OperationalData)) {
		text := data(i, name)
		if !strings.HasPrefix(name, o.Keys.Comment) || text == "" {
			continue
		}
		sum := sha256.Sum256([]byte(name + "\x00" + text))
		out = append(out, connector.Note{Note: ops.Note{
			ID: "comment-" + hex.EncodeToString(sum[:8]), At: aws.ToTime(i.LastModifiedTime).UTC(), Author: by, Text: text,
		}})
	}
	return out
}
