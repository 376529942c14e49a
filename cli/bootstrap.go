package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/fettleops/fettle/api/client"
	"github.com/fettleops/fettle/detect/bootstrap"
	"github.com/fettleops/fettle/internal/clock"
	"github.com/fettleops/fettle/internal/redact"
	"github.com/fettleops/fettle/internal/secret"
	"github.com/fettleops/fettle/ops"
)

// teaching is a command line of fettle detect bootstrap.
type teaching struct {
	remote
	group                       string
	prometheus, remoteRead, csv string
	days                        int
	step                        time.Duration
	match, labels               []string
	token, user, password       string
	replace                     bool
	now                         clock.Clock
}

func newBootstrap() *cobra.Command {
	t := teaching{now: time.Now} //nolint:forbidigo // the past of a person's series ends at the person's time
	c := t.command("bootstrap --group NAME (--prometheus URL | --remote-read URL | --csv FILE)", "Teach the models of a group the past of their series", cobra.NoArgs, t.run)
	c.Long = `Teach the models of a group the past of their series, so that they need not
learn for days before they tell anything. The past is read here, from a
Prometheus by its query API, from anything that answers remote read, or from a
CSV file (- for standard input), and sent to the server.

The group says which metrics are asked for. What is learned is scored and kept
as readings, and opens no anomaly. Entities that have learned enough already are
left alone, unless --replace makes them begin anew; so doing it twice changes
nothing. Interrupted, the same command goes on where it was left, for an hour.
Samples that come live meanwhile are not scored.

A CSV file has the columns time, metric and value and one for each label; or the
column time and one for each series, named like node_load1{instance="web1:9100"}.
Its rows are in the order of time, and all of it is learned, whatever --days says.`
	f := c.Flags()
	f.StringVar(&t.group, "group", "", "`name` of the group in detect.groups")
	f.StringVar(&t.prometheus, "prometheus", "", "`URL` of a Prometheus, before /api/v1")
	f.StringVar(&t.remoteRead, "remote-read", "", "`URL` of a remote read endpoint, such as http://127.0.0.1:9090/api/v1/read")
	f.StringVar(&t.csv, "csv", "", "`file`, or - for standard input")
	f.IntVar(&t.days, "days", 30, "how many days of the past")
	f.DurationVar(&t.step, "step", 0, "with --prometheus: ask for the value at each step instead of every sample")
	f.StringArrayVar(&t.match, "match", nil, "series `selector` to ask for instead of all that the group's metrics have; may be repeated")
	f.StringArrayVar(&t.labels, "label", nil, "`name=value` of a label for series without it, such as an external label of Prometheus; may be repeated")
	f.StringVar(&t.token, "token", "", "`reference` to a bearer token, env:NAME or file:PATH")
	f.StringVar(&t.user, "user", "", "user `name`, with --password")
	f.StringVar(&t.password, "password", "", "`reference` to the user's password, env:NAME or file:PATH")
	f.BoolVar(&t.replace, "replace", false, "let models that have learned enough learn anew, too")
	return c
}

// check finds what is wrong with the command line itself.
func (t *teaching) check() error {
	given := 0
	for _, s := range []string{t.prometheus, t.remoteRead, t.csv} {
		if s != "" {
			given++
		}
	}
	switch {
	case t.group == "":
		return usageError{errors.New("--group is missing: name a group of detect.groups")}
	case given != 1:
		return usageError{errors.New("say where the past is kept: one of --prometheus, --remote-read and --csv")}
	case t.days < 1 || t.days > 3650:
		return usageError{fmt.Errorf("--days %d: give 1 to 3650", t.days)}
	case t.step != 0 && t.prometheus == "":
		return usageError{errors.New("--step goes with --prometheus alone")}
	case (t.user == "") != (t.password == ""):
		return usageError{errors.New("--user and --password go together")}
	case t.token != "" && t.user != "":
		return usageError{errors.New("--token and --user exclude each other")}
	}
	return nil
}

// upTo is how much behind now the past ends: a scrape takes its time. Ends on
// a grid are caught up with.
const (
	upTo   = 5 * time.Second
	upGrid = 10 * time.Second
)

func (t *teaching) run(cmd *cobra.Command, c *client.Client, _ []string) error {
	if err := t.check(); err != nil {
		return err
	}
	ctx := cmd.Context()
	g, err := c.Group(ctx, t.group)
	if err != nil {
		return err
	}
	src, done, err := t.source(cmd, g)
	if err != nil {
		return err
	}
	defer done()
	b, err := c.BeginBootstrap(ctx, t.group, src.Name(), t.replace)
	if err != nil {
		return err
	}
	from := time.Time{}
	if t.csv == "" {
		from = t.now().Add(-time.Duration(t.days) * 24 * time.Hour)
	}
	if b.Covered.After(from) {
		from = b.Covered
		fmt.Fprintf(cmd.ErrOrStderr(), "going on after %s\n", when(from))
	}
	show := newProgress(cmd.ErrOrStderr(), t.group)
	sum := learned{Group: t.group, Samples: b.Samples, warm: map[string]bool{}}
	err = src.Parts(ctx, from, func(p bootstrap.Part) error {
		got, err := teach(ctx, c, b.ID, p)
		if err != nil {
			return err
		}
		sum.add(p, got)
		show.at(p)
		return nil
	})
	show.end(err)
	if err != nil {
		if sum.Samples > 0 {
			err = fmt.Errorf("%w\nwhat was taught stays; run the same command again within an hour to go on", err)
		}
		return err
	}
	for {
		_, err := c.EndBootstrap(ctx, b.ID)
		if err == nil {
			break
		}
		if !errors.Is(err, ops.ErrUnavailable) || !pause(ctx, time.Second) {
			return err
		}
	}
	if g, err = c.Group(ctx, t.group); err != nil {
		return err
	}
	return t.told(cmd, sum, g)
}

// learned is what became of it all.
type learned struct {
	Group     string    `json:"group"`
	From      time.Time `json:"from,omitzero"`
	To        time.Time `json:"to,omitzero"`
	Series    int       `json:"series" doc:"in the largest part"`
	Selected  int       `json:"selected"`
	Samples   int64     `json:"samples"`
	Entities  int       `json:"entities"`
	LeftAlone int       `json:"left_alone"`
	Watched   int       `json:"watched"`
	Ready     int       `json:"ready"`
	warm      map[string]bool
}

func (l *learned) add(p bootstrap.Part, got client.Taken) {
	if l.From.IsZero() {
		l.From = p.From
	}
	l.To = p.To
	l.Series, l.Selected = max(l.Series, got.Series), max(l.Selected, got.Selected)
	l.Entities, l.LeftAlone = max(l.Entities, got.Entities), max(l.LeftAlone, got.Warm)
	l.Samples += int64(got.Samples)
	for _, w := range got.WarmNames {
		l.warm[w] = true
	}
}

func (t *teaching) told(cmd *cobra.Command, l learned, g client.GroupView) error {
	l.Watched, l.Ready = g.Entities, g.Ready
	err := t.print(cmd.OutOrStdout(), l, "group\t"+plain(l.Group), func(w io.Writer) {
		fmt.Fprintf(w, "past\t%s to %s\nseries\t%d, of them %d selected\nsamples\t%d\n", when(l.From), when(l.To), l.Series, l.Selected, l.Samples)
		fmt.Fprintf(w, "taught\t%d entities\n", l.Entities)
		if l.LeftAlone > 0 {
			var names []string
			for n := range l.warm {
				names = append(names, plain(n))
			}
			slices.Sort(names)
			fmt.Fprintf(w, "left alone\t%d that had learned enough (--replace teaches them anew): %s\n", l.LeftAlone, strings.Join(names, ", "))
		}
		fmt.Fprintf(w, "ready\t%d of %d entities\n", l.Ready, l.Watched)
	})
	if err == nil && l.Selected == 0 {
		err = fmt.Errorf("the group selects nothing of the past; it reads %s", strings.Join(g.Metrics, ", "))
	}
	return err
}

// patience is how long a server that is not ready is asked again.
const patience = 10 * time.Minute

// teach sends a part until it is taken.
func teach(ctx context.Context, c *client.Client, id string, p bootstrap.Part) (client.Taken, error) {
	body := p.Batch()
	wait := time.Second
	for waited := time.Duration(0); ; waited += wait {
		got, err := c.TeachBootstrap(ctx, id, p.From, p.To, body)
		if err == nil || waited > patience || !errors.Is(err, ops.ErrUnavailable) && !errors.Is(err, ops.ErrThrottled) {
			return got, err
		}
		wait = min(2*wait, 10*time.Second)
		if !pause(ctx, wait) {
			return got, ctx.Err()
		}
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

var labelName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_.]*$`)

// source opens where the past is kept; done closes it.
func (t *teaching) source(cmd *cobra.Command, g client.GroupView) (src bootstrap.Source, done func(), err error) {
	done = func() {}
	extra := map[string]string{}
	for _, l := range t.labels {
		name, value, ok := strings.Cut(l, "=")
		if !ok || !labelName.MatchString(name) || value == "" {
			return nil, done, usageError{fmt.Errorf("--label %q: write it like cluster=prod", l)}
		}
		extra[name] = value
	}
	if t.csv != "" {
		return t.table(cmd, extra)
	}
	o := bootstrap.Options{
		URL: t.prometheus + t.remoteRead, Match: t.match, Labels: extra, User: t.user, Step: t.step,
		Until: func() time.Time { return t.now().Add(-upTo).Truncate(upGrid) },
	}
	if len(o.Match) == 0 {
		if g.Unnamed {
			return nil, done, usageError{fmt.Errorf("group %s has features that read metrics of any name: say with --match which series to ask for", g.Name)}
		}
		for _, m := range g.Metrics {
			o.Match = append(o.Match, bootstrap.Selector(m))
		}
	}
	for ref, into := range map[string]*redact.Secret{t.token: &o.Token, t.password: &o.Password} {
		if ref == "" {
			continue
		}
		r, err := secret.Parse(ref)
		if err != nil {
			return nil, done, usageError{fmt.Errorf("--token or --password: %w", err)}
		}
		if *into, err = (secret.Local{}).Resolve(cmd.Context(), r); err != nil {
			return nil, done, err
		}
	}
	if t.remoteRead != "" {
		src, err = bootstrap.RemoteRead(o)
	} else {
		src, err = bootstrap.Prometheus(o)
	}
	return src, done, err
}

// counted counts what is read, for the progress.
type counted struct {
	io.Reader
	n atomic.Int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n.Add(int64(n))
	return n, err
}

func (t *teaching) table(cmd *cobra.Command, extra map[string]string) (bootstrap.Source, func(), error) {
	done := func() {}
	in := &counted{Reader: cmd.InOrStdin()}
	tab := bootstrap.Table{Labels: extra, ReadBytes: in.n.Load}
	if t.csv != "-" {
		f, err := os.Open(t.csv)
		if err != nil {
			return nil, done, err
		}
		done = func() { _ = f.Close() } // only read
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			tab.Size = info.Size()
		}
		in.Reader = f
		if tab.Path, err = filepath.Abs(t.csv); err != nil {
			return nil, done, err
		}
	}
	tab.In = in
	src, err := bootstrap.CSV(tab)
	if err != nil {
		err = fmt.Errorf("%s: %w", t.csv, err)
	}
	return src, done, err
}

// progress shows how far it is: a bar on a terminal, and elsewhere a line for
// each tenth.
type progress struct {
	out     io.Writer
	name    string
	bar     *progressbar.ProgressBar
	tenth   int
	samples int
}

const barSteps = 1000

func newProgress(out io.Writer, name string) *progress {
	p := &progress{out: out, name: plain(name)}
	if f, ok := out.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			p.bar = progressbar.NewOptions(barSteps, progressbar.OptionSetWriter(out), progressbar.OptionSetDescription(p.name),
				progressbar.OptionSetPredictTime(true), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionFullWidth())
		}
	}
	return p
}

func (p *progress) at(part bootstrap.Part) {
	p.samples += part.Samples()
	if p.bar != nil {
		p.bar.Describe(p.name + " " + when(part.To))
		_ = p.bar.Set(int(part.Done * barSteps)) // what cannot be shown is not missed
		return
	}
	if tenth := int(part.Done * 10); tenth > p.tenth {
		p.tenth = tenth
		fmt.Fprintf(p.out, "%s: %d%%, to %s, %d samples\n", p.name, tenth*10, when(part.To), p.samples)
	}
}

func (p *progress) end(err error) {
	if p.bar == nil {
		return
	}
	if err == nil {
		_ = p.bar.Finish()
	}
	fmt.Fprintln(p.out)
}
