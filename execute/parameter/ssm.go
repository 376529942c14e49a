package parameter

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/fettleops/fettle/internal/awsx"
	"github.com/fettleops/fettle/internal/failpoint"
	"github.com/fettleops/fettle/ops"
)

// SSM is Parameter Store in one account and region. Make it with NewSSM.
//
// The service has no compare-and-set. A write on top of a version the writer
// has not seen is noticed by the number the service answers with; the value of
// who was first is then put back and the write fails with ErrConflict, so a
// value may be readable for the moment in between. Nobody but Fettle should
// write a key while the lease of its change is held.
//
// The token of a write, as a hash, and the version it was meant to follow stand
// at the end of the version's description, because that is written in one call
// with the value.
type SSM struct {
	client store
	// pause waits between looks at what was written, for the moment in which the
	// service checks it.
	pause func(ctx context.Context, d time.Duration) error
}

var _ Repository = (*SSM)(nil)

// NewSSM returns the Parameter Store that cfg reaches.
func NewSSM(cfg aws.Config) *SSM {
	return &SSM{client: newStore(ssm.NewFromConfig(cfg)), pause: pause}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// describe writes a version's description, and sealed reads it.
func describe(note string, e Edit) string {
	return strings.TrimSpace(fmt.Sprintf("%s [fettle %s over %d]", note, seal(e.Token), e.Version))
}

var sealPattern = regexp.MustCompile(`^((?s:.*?)) ?\[fettle ([0-9a-f]{24}) over ([0-9]{1,18})\]$`)

// mark is what a description says about the write that made a version. Over is
// -1 for a version of somebody else.
type mark struct {
	note, seal string
	over       int64
}

func sealed(h types.ParameterHistory) mark {
	description := aws.ToString(h.Description)
	m := sealPattern.FindStringSubmatch(description)
	if m == nil {
		return mark{note: description, over: -1}
	}
	over, _ := strconv.ParseInt(m[3], 10, 64) // at most 18 digits always fit
	return mark{m[1], m[2], over}
}

// stray reports whether a version was written on top of one its writer had not
// seen.
func stray(h types.ParameterHistory) bool {
	over := sealed(h).over
	return over >= 0 && over+1 != h.Version
}

// past is the versions of a key the service still has, oldest first.
func (s *SSM) past(ctx context.Context, key string) ([]types.ParameterHistory, error) {
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	var out []types.ParameterHistory
	in := &ssm.GetParameterHistoryInput{Name: &key, MaxResults: aws.Int32(50)}
	for {
		page, err := s.client.GetParameterHistory(ctx, in)
		if err != nil {
			return nil, awsx.Read("read parameter "+key, err)
		}
		out = append(out, page.Parameters...)
		if aws.ToString(page.NextToken) == "" {
			break
		}
		in.NextToken = page.NextToken
	}
	if len(out) == 0 {
		return nil, missing(key)
	}
	slices.SortFunc(out, func(a, b types.ParameterHistory) int { return int(a.Version - b.Version) })
	return out, nil
}

func read(h types.ParameterHistory) Parameter {
	p := Parameter{
		Key: aws.ToString(h.Name), Kind: Kind(h.Type), DataType: aws.ToString(h.DataType), Version: h.Version,
		Note: sealed(h).note, At: aws.ToTime(h.LastModifiedDate).UTC(),
	}
	if p.Kind != Secure {
		p.Value = aws.ToString(h.Value)
	}
	for _, l := range h.Labels {
		if lifecycle(l) {
			p.Label = Label(l)
		}
	}
	return p
}

// Get implements Repository.
func (s *SSM) Get(ctx context.Context, key string) (Parameter, error) {
	past, err := s.past(ctx, key)
	if err != nil {
		return Parameter{}, err
	}
	return read(past[len(past)-1]), nil
}

var _ Tagger = (*SSM)(nil)

// Tags implements Tagger.
func (s *SSM) Tags(ctx context.Context, key string) (map[string]string, error) {
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	list, err := s.client.ListTagsForResource(ctx, &ssm.ListTagsForResourceInput{ResourceType: types.ResourceTypeForTaggingParameter, ResourceId: &key})
	var gone *types.InvalidResourceId
	switch {
	case errors.As(err, &gone):
		return nil, missing(key)
	case err != nil:
		return nil, awsx.Read("read the tags of parameter "+key, err)
	}
	out := map[string]string{}
	for _, t := range list.TagList {
		out[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return out, nil
}

// List implements Repository. The service promises it only in the long run: a
// key that was just written may be missing.
func (s *SSM) List(ctx context.Context, path string) ([]Parameter, error) {
	if err := CheckKey(path); err != nil {
		return nil, err
	}
	var out []Parameter
	in := &ssm.GetParametersByPathInput{Path: &path, Recursive: aws.Bool(true), MaxResults: aws.Int32(10)}
	for {
		page, err := s.client.GetParametersByPath(ctx, in)
		if err != nil {
			return nil, awsx.Read("list parameters below "+path, err)
		}
		for _, p := range page.Parameters {
			q := Parameter{
				Key: aws.ToString(p.Name), Kind: Kind(p.Type), DataType: aws.ToString(p.DataType),
				Version: p.Version, At: aws.ToTime(p.LastModifiedDate).UTC(),
			}
			if q.Kind != Secure {
				q.Value = aws.ToString(p.Value)
			}
			out = append(out, q)
		}
		if aws.ToString(page.NextToken) == "" { // a page may be empty and not the last
			break
		}
		in.NextToken = page.NextToken
	}
	slices.SortFunc(out, func(a, b Parameter) int { return strings.Compare(a.Key, b.Key) })
	return out, nil
}

// Put implements Repository.
func (s *SSM) Put(ctx context.Context, e Edit) (Parameter, error) {
	if err := e.check(); err != nil {
		return Parameter{}, err
	}
	past, err := s.past(ctx, e.Key)
	if err != nil && !errors.Is(err, ops.ErrNotFound) {
		return Parameter{}, err
	}
	for _, h := range past {
		switch {
		case sealed(h).seal != seal(e.Token):
		case stray(h):
			return Parameter{}, s.yield(ctx, e.Key, h.Version)
		default:
			return read(h), nil
		}
	}
	in := &ssm.PutParameterInput{
		Name: &e.Key, Value: &e.Value, Type: types.ParameterType(e.kind()), DataType: aws.String(e.dataType()),
		Description: aws.String(describe(e.Note, e)), Overwrite: aws.Bool(len(past) > 0),
	}
	if len(past) > 0 {
		last := past[len(past)-1]
		switch {
		case last.Type == types.ParameterTypeSecureString:
			return Parameter{}, secret(e.Key)
		case last.Version != e.Version:
			return Parameter{}, moved(e.Key, last.Version, e.Version)
		}
		in.Type, in.DataType = last.Type, last.DataType
		if e.Note == "" {
			in.Description = aws.String(describe(sealed(last).note, e))
		}
	} else if e.Version != 0 {
		return Parameter{}, moved(e.Key, 0, e.Version)
	}
	number, err := s.put(ctx, in, past)
	if err != nil {
		return Parameter{}, err
	}
	if number != e.Version+1 {
		return Parameter{}, s.yield(ctx, e.Key, number)
	}
	return s.seen(ctx, e.Key, number)
}

// put writes once and makes room for a version when the oldest one may not go
// because it carries a label of ours.
func (s *SSM) put(ctx context.Context, in *ssm.PutParameterInput, past []types.ParameterHistory) (int64, error) {
	once := func(o *ssm.Options) { o.Retryer = awsx.Once }
	for try := 0; ; try++ {
		failpoint.Hit("execute.parameter.put.before")
		out, err := s.client.PutParameter(ctx, in, once)
		failpoint.Hit("execute.parameter.put.after")
		if err == nil {
			return out.Version, nil
		}
		var full *types.ParameterMaxVersionLimitExceeded
		if !errors.As(err, &full) || try > 0 || len(past) == 0 {
			return 0, awsx.Write("put parameter "+*in.Name, err)
		}
		var ours []string
		for _, l := range past[0].Labels {
			if lifecycle(l) {
				ours = append(ours, l)
			}
		}
		if len(ours) == 0 {
			return 0, fmt.Errorf("put parameter %s: the oldest of its versions carries the label %s, which is not ours to remove: %w", *in.Name, strings.Join(past[0].Labels, ", "), ops.ErrStalled)
		}
		if err := s.unlabel(ctx, *in.Name, past[0].Version, ours); err != nil {
			return 0, err
		}
	}
}

// yield puts back what stray version number of key has overwritten. A version
// put back keeps its description and so is a stray one too, with the value of
// the one before it that is not.
func (s *SSM) yield(ctx context.Context, key string, number int64) error {
	past, err := s.past(ctx, key)
	if err != nil {
		return &ops.UnknownOutcome{Err: fmt.Errorf("parameter %s was overwritten at version %d by a write that came second: %w", key, number, err)}
	}
	last := past[len(past)-1]
	second := fmt.Errorf("parameter %s: somebody else wrote first, version %d was put on top of it: %w", key, number, ops.ErrConflict)
	if last.Version != number {
		return second // whoever wrote last puts back, or has the last word
	}
	for _, h := range slices.Backward(past) {
		if stray(h) {
			continue
		}
		in := &ssm.PutParameterInput{Name: &key, Value: h.Value, Type: h.Type, DataType: h.DataType, Description: h.Description, Overwrite: aws.Bool(true)}
		if _, err := s.put(ctx, in, past); err != nil {
			return fmt.Errorf("%w; it could not be put back: %w", second, err)
		}
		return second
	}
	return fmt.Errorf("%w, and is no longer known: %w", second, ops.ErrStalled)
}

// readBack is how often what was written is looked for. The service checks some
// data types only after it has accepted the value.
const readBack = 20

// seen returns version number of key once the service shows it.
func (s *SSM) seen(ctx context.Context, key string, number int64) (Parameter, error) {
	for range readBack {
		past, err := s.past(ctx, key)
		if err != nil && !errors.Is(err, ops.ErrNotFound) {
			return Parameter{}, &ops.UnknownOutcome{Err: err}
		}
		for _, h := range past {
			if h.Version == number {
				return read(h), nil
			}
		}
		if err := s.pause(ctx, 250*time.Millisecond); err != nil {
			return Parameter{}, &ops.UnknownOutcome{Err: fmt.Errorf("parameter %s: version %d was accepted and is not seen yet: %w: %w", key, number, err, ops.ErrUnavailable)}
		}
	}
	return Parameter{}, fmt.Errorf("parameter %s: the service accepted version %d and did not keep it; check that the value is of the parameter's data type: %w", key, number, ops.ErrStalled)
}

// Mark implements Repository.
func (s *SSM) Mark(ctx context.Context, key string, number int64, l Label) error {
	if !lifecycle(string(l)) {
		return unknownLabel(key, l)
	}
	past, err := s.past(ctx, key)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(past, func(h types.ParameterHistory) bool { return h.Version == number })
	if i < 0 {
		return fmt.Errorf("parameter %s has no version %d: %w", key, number, ops.ErrNotFound)
	}
	has := past[i].Labels
	var others []string
	for _, o := range has {
		if o != string(l) && lifecycle(o) {
			others = append(others, o)
		}
	}
	if !slices.Contains(has, string(l)) {
		failpoint.Hit("execute.parameter.label.before")
		out, err := s.client.LabelParameterVersion(ctx, &ssm.LabelParameterVersionInput{Name: &key, ParameterVersion: &number, Labels: []string{string(l)}})
		failpoint.Hit("execute.parameter.label.after")
		if err != nil {
			return awsx.Read("label parameter "+key, err) // the same label twice is one label
		}
		if len(out.InvalidLabels) > 0 {
			return fmt.Errorf("parameter %s: the service refuses the label %s: %w", key, l, ops.ErrInvalid)
		}
	}
	if len(others) == 0 {
		return nil
	}
	return s.unlabel(ctx, key, number, others)
}

func (s *SSM) unlabel(ctx context.Context, key string, number int64, labels []string) error {
	failpoint.Hit("execute.parameter.unlabel.before")
	_, err := s.client.UnlabelParameterVersion(ctx, &ssm.UnlabelParameterVersionInput{Name: &key, ParameterVersion: &number, Labels: labels})
	failpoint.Hit("execute.parameter.unlabel.after")
	return awsx.Read("unlabel parameter "+key, err)
}

// Delete implements Repository. Between the look at the version and the call
// somebody else may write.
func (s *SSM) Delete(ctx context.Context, key string, number int64) error {
	p, err := s.Get(ctx, key)
	switch {
	case errors.Is(err, ops.ErrNotFound):
		return nil
	case err != nil:
		return err
	case p.Version != number:
		return moved(key, p.Version, number)
	}
	failpoint.Hit("execute.parameter.delete.before")
	_, err = s.client.DeleteParameter(ctx, &ssm.DeleteParameterInput{Name: &key})
	failpoint.Hit("execute.parameter.delete.after")
	var gone *types.ParameterNotFound
	if errors.As(err, &gone) {
		return nil
	}
	return awsx.Write("delete parameter "+key, err)
}
