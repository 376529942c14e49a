package command

import (
	"io"
	"os"
)

// maxFile bounds the file a command writes to. Beyond it the file is emptied:
// what was written between the last copy and then is lost, from the middle of
// an output of which only head and tail are kept anyway.
const maxFile = 8 << 20

// tail copies what a command writes to its file to out.
type tail struct {
	path string
	out  io.Writer
	at   int64
}

// copy hands on what is new. A file that is gone or unreadable has nothing new.
func (t *tail) copy() {
	f, err := os.Open(t.path)
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	n, _ := io.Copy(t.out, io.NewSectionReader(f, t.at, maxFile*4))
	t.at += n
	if t.at > maxFile && os.Truncate(t.path, 0) == nil {
		t.at = 0
	}
}

func (t *tail) remove() { _ = os.Remove(t.path) }
