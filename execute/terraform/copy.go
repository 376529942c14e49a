package terraform

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fettleops/fettle/ops"
)

// maxCopy bounds a configuration. Larger directories hold something else.
const maxCopy = 64 << 20

// keepCopies is how long an unused working copy is kept for rollbacks.
const keepCopies = 30 * 24 * time.Hour

// take copies a configuration directory and returns the digest of what was
// copied. Copies are kept by their digest, so that what was planned can be
// applied, and gone back to, whatever becomes of the directory.
func (x *Executor) take(dir string) (digest string, err error) {
	parent := filepath.Join(x.env.Dir, "copies")
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return "", fmt.Errorf("terraform: working copy: %w: %w", err, ops.ErrUnavailable)
	}
	tmp, err := os.MkdirTemp(parent, "making-")
	if err != nil {
		return "", fmt.Errorf("terraform: working copy: %w: %w", err, ops.ErrUnavailable)
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	digest, err = copyTree(dir, tmp)
	if err != nil {
		return "", err
	}
	final := x.copyPath(digest)
	if _, err := os.Stat(final); err == nil {
		return digest, x.touch(final)
	}
	if err := os.Rename(tmp, final); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("terraform: working copy: %w: %w", err, ops.ErrUnavailable)
	}
	return digest, x.touch(final)
}

func (x *Executor) touch(path string) error {
	now := x.env.Clock()
	return os.Chtimes(path, now, now)
}

func (x *Executor) copyPath(digest string) string {
	return filepath.Join(x.env.Dir, "copies", strings.TrimPrefix(digest, "sha256:")[:32])
}

// root is the root module of a working copy, where Terraform runs.
func (x *Executor) root(digest string) string { return filepath.Join(x.copyPath(digest), x.cfg.Module) }

// copyTree copies the files Terraform reads and returns their digest: of each
// its path, whether it is executable, and its content.
func copyTree(from, to string) (digest string, err error) {
	all := sha256.New()
	var size int64
	err = filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if rel != "." && notConfiguration(d) {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		info, err := os.Stat(path) // follows a link to a file; what it leads to is what is read
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s is neither a file nor a directory; links to directories are not followed", rel)
		}
		if size += info.Size(); size > maxCopy {
			return fmt.Errorf("more than %d MiB; leave other things out of the configuration's directory", maxCopy>>20)
		}
		perm := fs.FileMode(0o600) | info.Mode().Perm()&0o100
		sum, err := copyFile(path, filepath.Join(to, rel), perm)
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(all, "%q %v %x\n", filepath.ToSlash(rel), perm, sum)
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("terraform: copy %s: %w: %w", from, err, ops.ErrInvalid)
	}
	return "sha256:" + hex.EncodeToString(all.Sum(nil)), nil
}

// notConfiguration tells what Terraform keeps for itself, and what version
// control does.
func notConfiguration(d fs.DirEntry) bool {
	name := d.Name()
	if d.IsDir() {
		return name == ".git" || name == ".terraform" || name == "terraform.tfstate.d"
	}
	return strings.HasSuffix(name, ".tfstate") || strings.Contains(name, ".tfstate.") || name == "crash.log" || name == overrideFile
}

func copyFile(from, to string, perm fs.FileMode) ([]byte, error) {
	in, err := os.Open(from)
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, perm)
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(out, h), io.LimitReader(in, maxCopy))
	return h.Sum(nil), errors.Join(err, out.Close())
}

// keepScratch is how long what a killed server was planning is left alone: it
// holds secrets, and nobody can still be at work on it.
const keepScratch = 24 * time.Hour

// prune removes working copies, and runs, nobody has used for long. A copy in
// which Terraform has left a state it could not store is never removed.
func (x *Executor) prune(keep string) {
	for pattern, age := range map[string]time.Duration{"plan-*": keepScratch, "drift-*": keepScratch, "runs/*": keepCopies} {
		found, err := filepath.Glob(filepath.Join(x.env.Dir, pattern))
		if err != nil {
			continue
		}
		for _, path := range found {
			if info, err := os.Stat(path); err == nil && x.env.Clock().Sub(info.ModTime()) > age {
				_ = os.RemoveAll(path)
			}
		}
	}
	parent := filepath.Join(x.env.Dir, "copies")
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, e := range entries {
		path := filepath.Join(parent, e.Name())
		info, err := e.Info()
		if err != nil || x.env.Clock().Sub(info.ModTime()) < keepCopies || (keep != "" && path == x.copyPath(keep)) {
			continue
		}
		if _, err := os.Stat(filepath.Join(path, x.cfg.Module, erroredState)); err == nil {
			continue
		}
		_ = os.RemoveAll(path)
	}
}

const (
	// erroredState is where Terraform leaves a state it could not store.
	erroredState = "errored.tfstate"
	// overrideFile keeps a state of the backend "local" where it belongs: in the
	// configured directory, not in our copy of it.
	overrideFile = "fettle_backend_override.tf.json"
	readyFile    = ".terraform/fettle-ready"
)

// leftState says where an apply left a state it could not store. Until a
// person has stored it, what a plan shows may already exist.
func (x *Executor) leftState() string {
	found, err := filepath.Glob(filepath.Join(x.env.Dir, "copies", "*", x.cfg.Module, erroredState))
	if err != nil || len(found) == 0 {
		return ""
	}
	return fmt.Sprintf("an apply could not store its state and left it in %s; look at it, store it by `%s state push %s` in that directory, and remove the file",
		found[0], x.cfg.Binary, erroredState)
}

// backendRecord is what init leaves about a declared backend.
type backendRecord struct {
	Backend struct {
		Type   string `json:"type"`
		Config struct {
			Path         *string `json:"path"`
			WorkspaceDir *string `json:"workspace_dir"`
		} `json:"config"`
	} `json:"backend"`
}

// initialise runs init in a working copy, once for each setting.
func (x *Executor) initialise(ctx context.Context, digest string) error {
	x.initMu.Lock()
	defer x.initMu.Unlock()
	root := x.root(digest)
	if _, err := os.Stat(root); err != nil {
		return fmt.Errorf("terraform: module %q is not in %s: %w", x.cfg.Module, x.cfg.Dir, ops.ErrInvalid)
	}
	if left := x.leftState(); left != "" {
		return fmt.Errorf("terraform: %s: %w", left, ops.ErrStalled)
	}
	settings := fmt.Sprint(x.binary, x.cfg.Workspace, x.cfg.Backend, x.cfg.PluginDir, x.cfg.Mirror, x.cfg.CLIConfig)
	if b, err := os.ReadFile(filepath.Join(root, readyFile)); err == nil && string(b) == settings {
		return nil
	}
	_ = os.Remove(filepath.Join(root, overrideFile))
	if err := x.init(ctx, root); err != nil {
		return err
	}
	var r backendRecord
	b, err := os.ReadFile(filepath.Join(root, ".terraform", "terraform.tfstate"))
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("terraform: what init left about its backend: %w: %w", err, ops.ErrUnavailable)
	}
	if r.Backend.Type == "" || r.Backend.Type == "local" {
		if err := x.anchorState(ctx, root, r); err != nil {
			return err
		}
	}
	return replaceFile(filepath.Join(root, readyFile), []byte(settings))
}

// anchorState makes the paths of the backend "local" absolute.
func (x *Executor) anchorState(ctx context.Context, root string, r backendRecord) error {
	at := func(given *string, name string) string {
		if given != nil && *given != "" {
			name = *given
		}
		if filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(x.cfg.Dir, x.cfg.Module, name)
	}
	local := map[string]string{
		"path":          at(r.Backend.Config.Path, "terraform.tfstate"),
		"workspace_dir": at(r.Backend.Config.WorkspaceDir, "terraform.tfstate.d"),
	}
	b, err := json.Marshal(map[string]any{"terraform": map[string]any{"backend": map[string]any{"local": local}}})
	if err != nil {
		return fmt.Errorf("terraform: %w", err)
	}
	if err := replaceFile(filepath.Join(root, overrideFile), b); err != nil {
		return err
	}
	return x.init(ctx, root)
}

// replaceFile writes a file that is whole at every moment.
func replaceFile(path string, b []byte) error {
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = os.WriteFile(path+".new", b, 0o600)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("terraform: %w: %w", err, ops.ErrUnavailable)
	}
	return nil
}
