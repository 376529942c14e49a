package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fettleops/fettle/execute"
	"github.com/fettleops/fettle/internal/worker"
	"github.com/fettleops/fettle/ops"
)

// remote runs one action on a host. Whether it has begun, and how it ended, is
// kept there in a directory named by the token: making that directory is what
// begins a run, so that it begins once, however often it is asked for, and any
// replica can ask what became of it.
type remote struct {
	*Executor
	host  *host
	token execute.Token
	rule  Rule
	a     ops.PlanAction
	pipe  pipe
}

// onceRemote runs the action on the host unless the token was seen before.
func (x *Executor) onceRemote(ctx context.Context, token execute.Token, rule Rule, a ops.PlanAction, out io.Writer) (execute.Result, error) {
	m := mark{State: starting, Host: x.cfg.SSH.target(), At: x.env.Clock().UTC()}
	if ctx.Err() != nil {
		m.State, m.Fault = refused, "not started: "+context.Cause(ctx).Error()
	}
	recorded, fresh, err := x.env.Marks.Mark(context.WithoutCancel(ctx), string(token), m.text())
	if err != nil {
		return execute.Result{}, fmt.Errorf("command: not started, the mark could not be written: %w", err)
	}
	if fresh && m.State == refused {
		return execute.Result{}, m.failure(a)
	}
	if !fresh {
		m = mark{}
		if err := json.Unmarshal([]byte(recorded), &m); err != nil {
			return execute.Result{}, &ops.UnknownOutcome{Err: fmt.Errorf("command: the mark of this run is unreadable: %w: %w", err, ops.ErrUnavailable)}
		}
	}
	switch {
	case m.State == ended && m.Fault == "":
		return execute.Result{Code: m.Code, Note: "had run already"}, nil
	case m.State == ended, m.State == refused:
		return execute.Result{Code: m.Code}, m.failure(a)
	case m.Host != x.cfg.SSH.target():
		return execute.Result{}, x.hidden(a, fmt.Sprintf("it began on %s at %s, and this executor now works on %s; look there", m.Host, m.At.Format(time.RFC3339), x.cfg.SSH.target()))
	}
	r := &remote{Executor: x, host: &host{cfg: x.cfg.SSH, env: x.env}, token: token, rule: rule, a: a, pipe: pipe{out: out}}
	defer r.host.close()
	return r.run(ctx, m, fresh)
}

// run begins the run, or finds it begun, and follows it to its end.
func (r *remote) run(ctx context.Context, m mark, fresh bool) (execute.Result, error) {
	durable := context.WithoutCancel(ctx)
	sent := !fresh // whether the host may have heard of this run
	for since := r.env.Clock(); ; {
		if ctx.Err() != nil {
			return r.settle(ctx, m, sent)
		}
		said, code, err := r.host.script(ctx, r.beginning())
		said = strings.TrimSpace(said)
		switch {
		case err == nil && (said == "started" || said == "exists"):
			m.State = started
			if err := r.env.Marks.Note(durable, string(r.token), m.text()); err != nil {
				r.env.Log.LogAttrs(ctx, slog.LevelWarn, "start of a command not recorded", slog.String("error", r.env.Redact(err.Error())))
			}
			return r.follow(ctx, m)
		case err == nil && said == "changed":
			return r.never(durable, m, r.a.Args[0]+" is no longer the file that was planned")
		case err == nil:
			return r.never(durable, m, fmt.Sprintf("the host exited with %d: %s", code, brief(said)))
		case !sent && !errors.Is(err, errLost):
			return r.never(durable, m, err.Error())
		}
		sent = true
		if closing(err) || r.env.Clock().Sub(since) > r.cfg.SSH.Timeout {
			return execute.Result{}, r.hidden(r.a, fmt.Sprintf("whether it began is not known: %v", err))
		}
		pause(ctx, time.Second)
	}
}

// settle answers for a run that may not begin any more.
func (r *remote) settle(ctx context.Context, m mark, sent bool) (execute.Result, error) {
	durable := context.WithoutCancel(ctx)
	why := context.Cause(ctx).Error()
	if !sent {
		return r.never(durable, m, why)
	}
	// What may still be on its way is shut out by making its directory.
	said, code, err := r.ask(durable, r.preamble()+"mkdir -p -- \"$base\" && if mkdir -- \"$d\" 2>/dev/null; then echo 130 > \"$d/exit\"; echo never; else echo exists; fi\n")
	switch said = strings.TrimSpace(said); {
	case err != nil:
		return execute.Result{}, r.hidden(r.a, fmt.Sprintf("whether it began is not known: %v", err))
	case said == "never":
		return r.never(durable, m, why)
	case said == "exists":
		return r.follow(ctx, m)
	}
	return execute.Result{}, r.hidden(r.a, fmt.Sprintf("whether it began is not known: the host exited with %d: %s", code, brief(said)))
}

// never records that the run did not begin and never will.
func (r *remote) never(ctx context.Context, m mark, why string) (execute.Result, error) {
	m.State, m.Fault = refused, r.env.Redact("not started: "+why)
	if err := r.env.Marks.Note(ctx, string(r.token), m.text()); err != nil {
		r.env.Log.LogAttrs(ctx, slog.LevelWarn, "end of a command not recorded", slog.String("error", r.env.Redact(err.Error())))
	}
	return execute.Result{}, m.failure(r.a)
}

// standing is how a run stands on the host.
type standing struct {
	known bool // it has begun there
	alive bool
	code  int // -1 when it has left none
	all   bool
}

// pollEvery is how often the host is asked.
const pollEvery = 200 * time.Millisecond

// follow asks the host until the run has ended, and ends it there when its time
// is up or ctx ends. A lost connection is made again.
func (r *remote) follow(ctx context.Context, m mark) (execute.Result, error) {
	durable := context.WithoutCancel(ctx)
	limit := time.NewTimer(max(r.rule.Timeout-r.env.Clock().Sub(m.At), 0))
	defer limit.Stop()
	var why error
	var killAt time.Time
	killed := false
	for {
		s, err := r.look(durable)
		switch {
		case err != nil && why != nil:
			return execute.Result{}, r.hidden(r.a, fmt.Sprintf("it may still run: it %v, and %v", why, err))
		case err != nil:
			return execute.Result{}, r.hidden(r.a, fmt.Sprintf("it began at %s, and what became of it is not known: %v", m.At.Format(time.RFC3339), err))
		case !s.known:
			return execute.Result{}, r.hidden(r.a, "it began, and the host has forgotten it; look there")
		case !s.all:
			continue
		}
		if why == nil && !s.alive {
			return r.over(ctx, m, s)
		}
		if why != nil && (!s.alive || r.env.Clock().After(killAt)) {
			if killed && s.alive {
				return execute.Result{}, r.hidden(r.a, fmt.Sprintf("it %v, and still runs", why))
			}
			if err := r.kill(durable, "KILL"); err != nil {
				return execute.Result{}, r.hidden(r.a, fmt.Sprintf("it may still run: it %v, and %v", why, err))
			}
			if !s.alive {
				m.Code = s.code
				return r.finishRemote(durable, m, why.Error())
			}
			killed, killAt = true, r.env.Clock().Add(5*time.Second)
			continue
		}
		if why != nil {
			pause(durable, pollEvery/4)
			continue
		}
		tick := time.NewTimer(pollEvery)
		select {
		case <-tick.C:
			continue
		case <-limit.C:
			why = fmt.Errorf("timed out after %s and was ended with all its children", r.rule.Timeout)
		case <-ctx.Done():
			why = fmt.Errorf("was ended with all its children: %w", context.Cause(ctx))
		}
		tick.Stop()
		killAt = r.env.Clock().Add(r.cfg.Grace)
		if err := r.kill(durable, "TERM"); err != nil {
			return execute.Result{}, r.hidden(r.a, fmt.Sprintf("it may still run: it %v, and %v", why, err))
		}
	}
}

// over answers for a run that has ended by itself.
func (r *remote) over(ctx context.Context, m mark, s standing) (execute.Result, error) {
	durable := context.WithoutCancel(ctx)
	m.Code = s.code
	switch {
	case s.code >= 0 && slices.Contains(r.rule.Success, s.code):
		return r.finishRemote(durable, m, "")
	case s.code >= 0:
		return r.finishRemote(durable, m, fmt.Sprintf("exited with %d", s.code))
	case !r.rule.Idempotent || ctx.Err() != nil:
		return execute.Result{}, r.hidden(r.a, fmt.Sprintf("it began at %s and has ended without leaving its exit code: it was killed, or the host was restarted", m.At.Format(time.RFC3339)))
	}
	if _, code, err := r.ask(durable, r.preamble()+"mv -- \"$d\" \"$d.lost.$$\"\n"); err != nil || code != 0 {
		return execute.Result{}, r.hidden(r.a, "it has ended without leaving its exit code, and the host does not let it begin again")
	}
	m.State, m.At = starting, r.env.Clock().UTC()
	r.pipe.at = 0
	return r.run(ctx, m, false)
}

// finishRemote records the end.
func (r *remote) finishRemote(ctx context.Context, m mark, fault string) (execute.Result, error) {
	res, err := r.finish(ctx, r.token, r.a, m, fault)
	// The exit code stays for a month, the output may hold what should not.
	if _, _, err := r.host.script(ctx, r.preamble()+"rm -f -- \"$d/out\" \"$d/run\"\n"); err != nil {
		r.env.Log.LogAttrs(ctx, slog.LevelWarn, "output of a command not removed from its host", slog.String("error", r.env.Redact(err.Error())))
	}
	return res, err
}

// ask runs a script that may be run any number of times, through lost
// connections, until the host was out of reach for the timeout.
func (r *remote) ask(ctx context.Context, text string) (string, int, error) {
	for since := r.env.Clock(); ; {
		within, cancel := context.WithTimeout(ctx, r.cfg.SSH.Timeout)
		said, code, err := r.host.script(within, text)
		cancel()
		if err == nil || closing(err) || r.env.Clock().Sub(since) > r.cfg.SSH.Timeout {
			return said, code, err
		}
		pause(ctx, pollEvery)
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// preamble names the run's directory on the host as $d.
func (r *remote) preamble() string {
	return fmt.Sprintf(`LC_ALL=C; export LC_ALL; umask 077
base=%s
case $base in /*) ;; *) base=$HOME/$base ;; esac
d=$base/%s
run=%s
marked() { for e in /proc/[0-9]*/environ; do if tr '\0' '\n' 2>/dev/null < "$e" | grep -qxF -- "$run"; then e=${e#/proc/}; echo "${e%%/environ}"; fi; done 2>/dev/null; }
began() { cut -d' ' -f22 "/proc/$1/stat" 2>/dev/null; }
`, quote(r.cfg.SSH.Dir), runName(r.token), quote(worker.RunVariable+"="+worker.Run(r.cfg.SSH.Dir, string(r.token))))
}

// beginning starts the run, in a session of its own, unless it has begun.
func (r *remote) beginning() string {
	command := fmt.Sprintf(`d=$1
trap : TERM INT HUP
cd %s && env -i %s %s >> "$d/out" 2>&1 < /dev/null
echo $? > "$d/exit.new" && mv -- "$d/exit.new" "$d/exit"
`, quote(r.cfg.Dir), words(r.cfg.environment(r.cfg.SSH.Dir, r.token)), words(r.a.Args))
	return r.preamble() + fmt.Sprintf(`mkdir -p -- "$base" || exit 9
find "$base" -mindepth 1 -maxdepth 1 -type d -mtime +30 -exec rm -rf -- {} + 2>/dev/null
[ -d "$d" ] && { echo exists; exit 0; }
command -v setsid >/dev/null || { echo "the host needs setsid"; exit 9; }
f=$(readlink -f -- %s) && s=$(sha256sum < "$f") || s=
[ "$f" = %s ] && [ "sha256:${s%%%% *}" = %s ] || { echo changed; exit 0; }
mkdir -- "$d" 2>/dev/null || { [ -d "$d" ] && { echo exists; exit 0; }; echo "cannot make $d"; exit 9; }
printf %%s %s > "$d/run"
: > "$d/out"
setsid /bin/sh "$d/run" "$d" < /dev/null > /dev/null 2>&1 &
p=$!
printf '%%s %%s\n' "$p" "$(began "$p")" > "$d/pid.new" && mv -- "$d/pid.new" "$d/pid"
echo started
`, quote(r.a.Args[0]), quote(r.a.After["file"]), quote(r.a.After["digest"]), quote(command))
}

// look asks how the run stands and copies what is new of its output. A run is
// looked at for life first and for its exit code then, because it leaves the
// code while it lives.
func (r *remote) look(ctx context.Context) (standing, error) {
	reset := ""
	if r.pipe.at > maxFile {
		reset = ": > \"$d/out\"\n"
		r.pipe.at = 0
	}
	said, code, err := r.ask(ctx, r.preamble()+reset+fmt.Sprintf(`[ -d "$d" ] || { echo "none 0 - 0"; exit 0; }
alive=0
if [ -e "$d/pid" ]; then
  read -r p s < "$d/pid"
  [ -n "$s" ] && [ "$(began "$p")" = "$s" ] && [ "$(cut -d' ' -f3 "/proc/$p/stat" 2>/dev/null)" != Z ] && alive=1
elif [ -n "$(marked)" ]; then alive=1
fi
code=-
[ -e "$d/exit" ] && read -r code < "$d/exit"
size=0
[ -e "$d/out" ] && size=$(wc -c < "$d/out")
printf 'run %%s %%s %%s\n' "$alive" "$code" $size
[ -e "$d/out" ] && tail -c +%d "$d/out" | head -c %d
exit 0
`, r.pipe.at+1, maxReply/2))
	if err != nil {
		return standing{}, err
	}
	head, output, _ := strings.Cut(said, "\n")
	f := strings.Fields(head)
	if code != 0 || len(f) != 4 {
		return standing{}, fmt.Errorf("command: %s: the answer %q is not to be understood: %w", r.cfg.SSH.Host, brief(head), ops.ErrUnavailable)
	}
	if f[0] == "none" {
		return standing{}, nil
	}
	_, _ = io.WriteString(r.pipe.out, output)
	r.pipe.at += int64(len(output))
	s := standing{known: true, alive: f[1] == "1", code: -1}
	if n, err := strconv.Atoi(f[2]); err == nil {
		s.code, s.alive = n, false
	}
	size, err := strconv.ParseInt(f[3], 10, 64)
	s.all = err != nil || r.pipe.at >= size || output == "" || s.alive
	return s, nil
}

// kill signals the run's process group, and with KILL also what has left it.
func (r *remote) kill(ctx context.Context, signal string) error {
	text := r.preamble() + fmt.Sprintf(`if [ -e "$d/pid" ]; then
  read -r p s < "$d/pid"
  kill -s %[1]s -- "-$p" 2>/dev/null
fi
`, signal)
	if signal == "KILL" {
		text += "for p in $(marked); do kill -s KILL \"$p\" 2>/dev/null; done\n"
	} else {
		text += "[ -e \"$d/pid\" ] || for p in $(marked); do kill -s TERM \"$p\" 2>/dev/null; done\n"
	}
	_, _, err := r.ask(ctx, text+"exit 0\n")
	return err
}

// checkRemote runs a rule's check on the host and returns its exit code.
func (x *Executor) checkRemote(ctx context.Context, rule Rule, argv []string) (int, error) {
	h := &host{cfg: x.cfg.SSH, env: x.env}
	defer h.close()
	ctx, cancel := context.WithTimeoutCause(ctx, rule.Timeout, fmt.Errorf("timed out after %s: %w", rule.Timeout, ops.ErrUnavailable))
	defer cancel()
	if _, _, err := h.identify(ctx, argv[0]); err != nil {
		return -1, err
	}
	_, code, err := h.script(ctx, fmt.Sprintf("cd %s && exec env -i %s %s > /dev/null 2>&1 < /dev/null\n", quote(x.cfg.Dir), words(x.cfg.environment("", "")), words(argv)))
	return code, err
}
