package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Postgres returns the URL of a fresh, empty database of a real PostgreSQL.
// One cluster is started for the whole test binary, listening on a Unix socket
// only; each call makes a database of its own, dropped when the test ends even
// if connections are left open. The cluster ends with the process and its files
// are removed. It does not wait for the disk (fsync off): no test cuts the power
// of the machine, and what a killed client or server wrote the kernel keeps.
func Postgres(t testing.TB) (databaseURL string) {
	t.Helper()
	bin := postgresBin()
	if bin == "" {
		missing(t, "PostgreSQL's initdb", "postgresql")
	}
	cluster.once.Do(func() { cluster.socket, cluster.err = startCluster(bin, "off") })
	if cluster.err != nil {
		t.Fatal(cluster.err)
	}
	name := fmt.Sprintf("t%d", cluster.databases.Add(1))
	if err := admin(context.Background(), cluster.socket, "CREATE DATABASE "+name); err != nil {
		t.Fatalf("peer: create database: %v", err)
	}
	t.Cleanup(func() {
		if err := admin(context.Background(), cluster.socket, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("peer: drop database: %v", err)
		}
	})
	return clusterURL(cluster.socket, name)
}

// ErrNoPostgres says that this machine has no PostgreSQL server programs.
var ErrNoPostgres = errors.New("PostgreSQL is not here: install the Debian package postgresql")

// OpenPostgres is Postgres for programs such as benchmarks: the URL of an empty
// database in a cluster that ends with the process, durable as shipped (fsync
// on) unless Postgres has started it before. Without the server programs it
// returns ErrNoPostgres.
func OpenPostgres(ctx context.Context) (databaseURL string, err error) {
	bin := postgresBin()
	if bin == "" {
		return "", ErrNoPostgres
	}
	cluster.once.Do(func() { cluster.socket, cluster.err = startCluster(bin, "on") })
	if cluster.err != nil {
		return "", cluster.err
	}
	name := fmt.Sprintf("t%d", cluster.databases.Add(1))
	if err := admin(ctx, cluster.socket, "CREATE DATABASE "+name); err != nil {
		return "", fmt.Errorf("peer: create database: %w", err)
	}
	return clusterURL(cluster.socket, name), nil
}

// cluster is the one PostgreSQL of this test binary: starting one takes a
// second, a database a tenth.
var cluster struct {
	once      sync.Once
	socket    string // folder of the Unix socket
	err       error
	databases atomic.Int64
	pipe      io.Closer // held open for as long as this process lives
}

// postgresBin returns the folder of the newest server programs, which Debian
// keeps off the PATH, or "".
func postgresBin() string {
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is well-formed
	best, newest := "", 0
	for _, d := range dirs {
		version, err := strconv.Atoi(filepath.Base(filepath.Dir(d)))
		if _, gone := os.Stat(filepath.Join(d, "initdb")); err == nil && gone == nil && version > newest {
			best, newest = d, version
		}
	}
	if best != "" {
		return best
	}
	if p, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(p)
	}
	return ""
}

func startCluster(bin, fsync string) (socket string, err error) {
	dir, err := os.MkdirTemp("", "fettle-pg-")
	if err != nil {
		return "", fmt.Errorf("peer: postgres: %w", err)
	}
	as, err := serverUser(dir)
	if err != nil {
		return "", errors.Join(err, os.Remove(dir))
	}
	pgctl, data, log := filepath.Join(bin, "pg_ctl"), filepath.Join(dir, "data"), filepath.Join(dir, "log")
	if err := sweep(as, pgctl, dir, data); err != nil {
		return "", err
	}
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres", "-A", "trust",
		"-E", "UTF8", "--locale=C.UTF-8", "--no-sync") // these files are thrown away; what tests write is synced
	// pg_ctl waits until the server answers and leaves no child or goroutine
	// of this process behind, which leak tests would see.
	server := exec.Command(pgctl, "start", "-D", data, "-l", log, "-w", "-t", "60", "-s",
		"-o", "-k "+dir+" -c listen_addresses= -c max_connections=200 -c fsync="+fsync+" -c full_page_writes="+fsync)
	for _, cmd := range []*exec.Cmd{initdb, server} {
		cmd.Dir = dir
		as(cmd)
		if out, err := cmd.CombinedOutput(); err != nil {
			text, _ := os.ReadFile(log) // initdb has none
			return "", fmt.Errorf("peer: %s: %w; its output:\n%s%s", filepath.Base(cmd.Path), err, out, text)
		}
	}
	return dir, nil
}

// serverUser hands dir to the user that the server runs as, and returns what
// makes a command run so. PostgreSQL refuses to run as root.
func serverUser(dir string) (as func(*exec.Cmd), err error) {
	if os.Geteuid() != 0 {
		return func(*exec.Cmd) {}, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return nil, fmt.Errorf("peer: postgres does not run as root and there is no user postgres or nobody: %w", err)
		}
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("peer: user %s: %w", u.Username, err)
	}
	if err := os.Chown(dir, int(uid), int(gid)); err != nil {
		return nil, fmt.Errorf("peer: postgres: %w", err)
	}
	return func(cmd *exec.Cmd) { runAs(cmd, uint32(uid), uint32(gid)) }, nil
}

// sweep stops the server and removes dir once this process is gone, however it
// ended: a test binary has no hook for its own exit. The shell waits for the end
// of its input, a pipe that only this process holds open.
func sweep(as func(*exec.Cmd), pgctl, dir, data string) error {
	broom := exec.Command("/bin/sh", "-c",
		`read -r _; "$1" stop -D "$2" -m immediate -w; cd / && rm -rf -- "$3"`, "sweep", pgctl, data, dir)
	broom.Dir = dir
	as(broom)
	isolate(broom, 0)
	in, err := broom.StdinPipe()
	if err != nil {
		return fmt.Errorf("peer: postgres: %w", err)
	}
	if err := broom.Start(); err != nil {
		return fmt.Errorf("peer: postgres: %w", err)
	}
	cluster.pipe = in
	return nil
}

func admin(ctx context.Context, socket, sql string) error {
	conn, err := pgx.Connect(ctx, clusterURL(socket, "postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

func clusterURL(socket, database string) string {
	q := url.Values{"host": {socket}, "user": {"postgres"}, "sslmode": {"disable"}}
	return "postgres:///" + database + "?" + strings.ReplaceAll(q.Encode(), "%2F", "/")
}
