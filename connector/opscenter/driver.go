// Package opscenter drives AWS Systems Manager OpsCenter: tickets are OpsItems,
// and work orders are where cloud operations give a change its window. README.md
// beside this file says what the role needs and what is odd about it.
package opscenter

import (
	"cmp"
	"context"
	_ "embed" // the README
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/ops"
)

// Driver is the driver.
var Driver = connector.Define("opscenter", Open)

// README is the driver's manual, in Markdown.
//
//go:embed README.md
var README string

// platform is an open OpsCenter. What it remembers can be asked again.
type platform struct {
	env    connector.Env
	o      Options
	region string
	ssm    *ssm.Client
	sts    *sts.Client

	mu   sync.Mutex
	self string // our own identity, as AWS names it
}

var (
	_ connector.Platform   = (*platform)(nil)
	_ connector.Normaliser = (*platform)(nil)
	_ connector.Checker    = (*platform)(nil)
	_ connector.Describer  = (*platform)(nil)
)

// Open prepares a connection; nothing is sent yet.
func Open(ctx context.Context, cfg Config, env connector.Env) (connector.Platform, error) {
	if cfg.URL != "" {
		return nil, invalid("opscenter: url %s: leave it out; options.region says which OpsCenter it is, options.endpoint is another address of AWS", cfg.URL)
	}
	at := awsx.Env{Session: env.Name, Transport: transport{env.HTTP, env.Clock}}
	if env.Secrets != nil {
		at.Secret = env.Secrets.Resolve
	}
	a, err := awsx.Open(ctx, cfg.Options.Config, at)
	if err != nil {
		return nil, fmt.Errorf("opscenter: options: %w", err)
	}
	a.Logger = logging.Nop{}
	a.Retryer = func() aws.Retryer { return awsx.Once }
	return &platform{env: env, o: cfg.Options, region: a.Region, ssm: ssm.NewFromConfig(a), sts: sts.NewFromConfig(a)}, nil
}

// Create implements connector.Platform. The dedup string makes it idempotent as
// long as the OpsItem is open; one that was resolved since is found by its key.
func (p *platform) Create(ctx context.Context, key string, kind ops.TicketKind, f ops.TicketFields) (connector.Copy, error) {
	if !slices.Contains(kinds, kind) {
		return connector.Copy{}, invalid("kind %s: an OpsItem is one of %v; send change requests to another platform", kind, kinds)
	}
	there, err := p.Find(ctx, key)
	if err != nil {
		return connector.Copy{}, err
	}
	if len(there) > 0 {
		return there[0], nil
	}
	in, err := p.opening(key, kind, f)
	if err != nil {
		return connector.Copy{}, err
	}
	made, err := p.ssm.CreateOpsItem(ctx, in)
	var exists *types.OpsItemAlreadyExistsException
	if errors.As(err, &exists) && aws.ToString(exists.OpsItemId) != "" {
		return p.existing(ctx, *exists.OpsItemId, key)
	}
	if err != nil {
		return connector.Copy{}, p.fault("create an OpsItem", connector.Once, err)
	}
	id := aws.ToString(made.OpsItemId)
	if id == "" {
		return connector.Copy{}, &ops.UnknownOutcome{Err: fmt.Errorf("create an OpsItem: the answer names none: %w", ops.ErrUnavailable)}
	}
	c, err := p.Get(ctx, id)
	if err != nil {
		return connector.Copy{}, &ops.UnknownOutcome{Err: fmt.Errorf("OpsItem %s was opened, but does not read back: %w", id, err)}
	}
	return c, nil
}

// existing returns the OpsItem that a create met.
func (p *platform) existing(ctx context.Context, id, key string) (connector.Copy, error) {
	c, err := p.Get(ctx, id)
	if err == nil && c.Key != key {
		err = fmt.Errorf("OpsItem %s has our dedup string, but the key %q; give its operational data %s back its value: %w", id, c.Key, keyData, ops.ErrConflict)
	}
	if err != nil {
		return connector.Copy{}, err
	}
	return c, nil
}

// Update implements connector.Platform. UpdateOpsItem knows no versions: the
// version is compared just before.
func (p *platform) Update(ctx context.Context, ref string, e connector.Edit) (connector.Copy, error) {
	was, err := p.item(ctx, ref)
	if err != nil {
		return connector.Copy{}, err
	}
	if v := aws.ToString(was.Version); v != e.Version {
		return connector.Copy{}, fmt.Errorf("OpsItem %s is at version %s, not %s: %w", ref, v, e.Version, ops.ErrConflict)
	}
	seen, err := p.fieldsOf(ctx, was)
	if err != nil {
		return connector.Copy{}, err
	}
	want := connector.Overlay(seen, e.Want, e.Changed)
	if isOver(want.State) && !isOver(seen.State) {
		want.ResolveCode, want.ResolveNote = e.Want.ResolveCode, e.Want.ResolveNote
		if want.ResolveCode == "" || want.ResolveNote == "" {
			return connector.Copy{}, invalid("resolve_code, resolve_note: state %s needs both", want.State)
		}
	}
	want = p.Normal(want, seen)
	changed := connector.Diff(want, seen)
	if len(changed) == 0 {
		return p.copy(ctx, was)
	}
	in, err := p.o.edit(was, want, changed)
	if err != nil {
		return connector.Copy{}, err
	}
	if err := p.write(ctx, in); err != nil {
		return connector.Copy{}, err
	}
	got, err := p.item(ctx, ref)
	if err != nil {
		return connector.Copy{}, &ops.UnknownOutcome{Err: fmt.Errorf("OpsItem %s was written, but does not read back: %w", ref, err)}
	}
	if aws.ToString(got.Version) == aws.ToString(was.Version) {
		return connector.Copy{}, &ops.UnknownOutcome{Err: fmt.Errorf("OpsItem %s was written, and stays at version %s: %w", ref, e.Version, ops.ErrUnavailable)}
	}
	return p.compare(ctx, got, want, changed)
}

// compare returns the OpsItem as it stands, or an error naming each field that
// does not show what was written.
func (p *platform) compare(ctx context.Context, got *types.OpsItem, want ops.TicketFields, changed []connector.Field) (connector.Copy, error) {
	c, err := p.copy(ctx, got)
	if err != nil {
		return connector.Copy{}, err
	}
	want = p.Normal(want, c.Fields)
	var wrong []string
	for _, f := range connector.Diff(want, c.Fields) {
		if slices.Contains(changed, f) {
			wrong = append(wrong, fmt.Sprintf("%s was to be %q and is %q", f, connector.Value(want, f), connector.Value(c.Fields, f)))
		}
	}
	switch {
	case len(wrong) == 0:
		return c, nil
	case !c.Own:
		return connector.Copy{}, fmt.Errorf("%s: %s wrote at the same time: %w", strings.Join(wrong, ", "), c.UpdatedBy, ops.ErrConflict)
	}
	return connector.Copy{}, invalid("OpsItem %s: %s; correct the value", c.Ref, strings.Join(wrong, ", "))
}

func (p *platform) write(ctx context.Context, in *ssm.UpdateOpsItemInput) error {
	_, err := p.ssm.UpdateOpsItem(ctx, in)
	return p.fault("update OpsItem "+aws.ToString(in.OpsItemId), connector.Repeat, err)
}

// AddNote implements connector.Platform. Each note has a name of its own in the
// operational data, so that writing one twice leaves one, and none writes over
// another's.
func (p *platform) AddNote(ctx context.Context, ref string, n ops.Note) error {
	name := noteData + n.ID
	if !noteID.MatchString(n.ID) || len(name) > maxKey {
		return fmt.Errorf("note %q: an id is at most %d letters, digits and . _ : -: %w", n.ID, maxKey-len(noteData), ops.ErrInternal)
	}
	was, err := p.item(ctx, ref)
	if err != nil {
		return err
	}
	own := ownNotes(was)
	if slices.Contains(own, name) {
		return nil
	}
	at := p.env.Clock()
	if len(own) > 0 { // it is the last, also where clocks disagree
		if last, _, _, _ := readNote(data(was, own[len(own)-1])); !at.After(last) {
			at = last.Add(time.Nanosecond)
		}
	}
	in := &ssm.UpdateOpsItemInput{OpsItemId: &ref, OperationalData: map[string]types.OpsItemDataValue{}}
	put(in.OperationalData, name, noteText(at, n))
	if len(own) >= p.o.KeepNotes {
		in.OperationalDataToDelete = own[:len(own)-p.o.KeepNotes+1]
	}
	if err := p.write(ctx, in); err != nil {
		return err
	}
	got, err := p.item(ctx, ref)
	if err != nil {
		return &ops.UnknownOutcome{Err: fmt.Errorf("note %s was written, but OpsItem %s does not read back: %w", n.ID, ref, err)}
	}
	if _, there := got.OperationalData[name]; !there {
		return &ops.UnknownOutcome{Err: fmt.Errorf("note %s was written, and is not on OpsItem %s: %w", n.ID, ref, ops.ErrUnavailable)}
	}
	return nil
}

// Get implements connector.Platform.
func (p *platform) Get(ctx context.Context, ref string) (connector.Copy, error) {
	i, err := p.item(ctx, ref)
	if err != nil {
		return connector.Copy{}, err
	}
	return p.copy(ctx, i)
}

// Find implements connector.Platform.
func (p *platform) Find(ctx context.Context, key string) ([]connector.Copy, error) {
	in := &ssm.DescribeOpsItemsInput{OpsItemFilters: []types.OpsItemFilter{p.holds(keyData, key)}, MaxResults: aws.Int32(pageSize)}
	var out []connector.Copy
	for {
		page, err := p.list(ctx, in)
		if err != nil {
			return nil, err
		}
		for _, s := range page.OpsItemSummaries {
			c, err := p.Get(ctx, aws.ToString(s.OpsItemId))
			if errors.Is(err, ops.ErrNotFound) {
				continue // deleted since
			}
			if err != nil {
				return nil, err
			}
			if c.Key == key {
				out = append(out, c)
			}
		}
		if aws.ToString(page.NextToken) == "" {
			break
		}
		in.NextToken = page.NextToken
	}
	slices.SortStableFunc(out, func(a, b connector.Copy) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.Ref, b.Ref))
	})
	return out, nil
}

// pageSize is the most that one page of DescribeOpsItems holds.
const pageSize = 50

func (p *platform) list(ctx context.Context, in *ssm.DescribeOpsItemsInput) (*ssm.DescribeOpsItemsOutput, error) {
	page, err := p.ssm.DescribeOpsItems(ctx, in)
	if err == nil && page.OpsItemSummaries == nil {
		return nil, fmt.Errorf("list OpsItems: the answer holds no list: %w", ops.ErrUnavailable)
	}
	return page, p.fault("list OpsItems", connector.Read, err)
}

var itemID = regexp.MustCompile(`^oi-[0-9a-f]{12}$`)

// item reads an OpsItem.
func (p *platform) item(ctx context.Context, ref string) (*types.OpsItem, error) {
	if !itemID.MatchString(ref) {
		return nil, fmt.Errorf("OpsItem %q: an id looks like oi-0123456789ab: %w", ref, ops.ErrNotFound)
	}
	out, err := p.ssm.GetOpsItem(ctx, &ssm.GetOpsItemInput{OpsItemId: &ref})
	if err != nil {
		return nil, p.fault("get OpsItem "+ref, connector.Read, err)
	}
	i := out.OpsItem
	if i == nil || aws.ToString(i.OpsItemId) != ref || aws.ToString(i.Version) == "" || i.LastModifiedTime == nil {
		return nil, fmt.Errorf("get OpsItem %s: the answer is not that OpsItem: %w", ref, ops.ErrUnavailable)
	}
	return i, nil
}

func (p *platform) copy(ctx context.Context, i *types.OpsItem) (connector.Copy, error) {
	self, err := p.whoami(ctx)
	if err != nil {
		return connector.Copy{}, err
	}
	f, err := p.fieldsOf(ctx, i)
	if err != nil {
		return connector.Copy{}, err
	}
	id, by := aws.ToString(i.OpsItemId), aws.ToString(i.LastModifiedBy)
	return connector.Copy{
		Ref: id, Kind: ops.TicketKind(data(i, kindData)), Key: data(i, keyData), Display: id,
		URL:    strings.NewReplacer("{id}", id, "{region}", p.region).Replace(p.o.Link),
		Fields: f, Version: aws.ToString(i.Version), CreatedAt: aws.ToTime(i.CreatedTime).UTC(), UpdatedAt: aws.ToTime(i.LastModifiedTime).UTC(),
		UpdatedBy: by, Own: sameIdentity(by, self), Notes: p.o.notes(i, self),
	}, nil
}

// whoami returns our own identity.
func (p *platform) whoami(ctx context.Context) (string, error) {
	if p.env.User != "" {
		return p.env.User, nil
	}
	p.mu.Lock()
	self := p.self
	p.mu.Unlock()
	if self != "" {
		return self, nil
	}
	out, err := p.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", p.fault("ask who we are", connector.Read, err)
	}
	if self = aws.ToString(out.Arn); self == "" {
		return "", fmt.Errorf("ask who we are: the answer names nobody: %w", ops.ErrUnavailable)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.self = self
	return self, nil
}

// sameIdentity tells whether two ARNs are one user, or one role in whatever
// session: replicas assume ours in sessions of their own.
func sameIdentity(a, b string) bool { return a == b || a != "" && role(a) == role(b) && role(a) != "" }

// role returns account and name of the role behind an ARN, empty for another.
func role(arn string) string {
	part := strings.SplitN(arn, ":", 6)
	if len(part) != 6 {
		return ""
	}
	path := strings.Split(part[5], "/")
	switch {
	case part[2] == "sts" && path[0] == "assumed-role" && len(path) >= 2:
		return part[4] + "/" + path[1]
	case part[2] == "iam" && path[0] == "role" && len(path) >= 2:
		return part[4] + "/" + path[len(path)-1]
	}
	return ""
}

// Check implements connector.Checker.
func (p *platform) Check(ctx context.Context) error {
	_, who := p.whoami(ctx)
	_, list := p.list(ctx, &ssm.DescribeOpsItemsInput{
		OpsItemFilters: []types.OpsItemFilter{p.holds(installationData, p.env.Installation), since(p.env.Clock())}, MaxResults: aws.Int32(1),
	})
	_, get := p.item(ctx, "oi-000000000000")
	if errors.Is(get, ops.ErrNotFound) {
		get = nil // it may be asked for, and is not there
	}
	return errors.Join(who, needs(list, "ssm:DescribeOpsItems"), needs(get, "ssm:GetOpsItem"))
}

func needs(err error, right string) error {
	if errors.Is(err, ops.ErrDenied) {
		return fmt.Errorf("%w; give the role the right %s, together with ssm:CreateOpsItem and ssm:UpdateOpsItem", err, right)
	}
	return err
}
