package email

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html/template"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/textproto"
	"strings"
	"time"

	"github.com/fettleops/fettle/notify"
	"github.com/fettleops/fettle/ops"
)

// maxText is the length of the text, in bytes; the mail holds it twice.
const maxText = 64 << 10

var page = template.Must(template.New("mail").Parse(`<!DOCTYPE html>
<html><body style="font-family:sans-serif;font-size:15px;line-height:1.45">
<p style="border-left:6px solid {{.Color}};padding-left:10px;font-size:18px;font-weight:bold">{{.Title}}</p>
{{range .Parts}}<p style="white-space:pre-wrap">{{.}}</p>
{{end}}{{if .Lines}}<ul>{{range .Lines}}<li>{{.}}</li>{{end}}</ul>
{{end}}<table>{{range .Details}}<tr><td style="color:#555;padding-right:12px">{{index . 0}}</td><td>{{index . 1}}</td></tr>{{end}}</table>
{{if .Link}}<p><a href="{{.Link}}">Open in Fettle</a></p>
{{end}}{{range .Tickets}}{{if .URL}}<p><a href="{{.URL}}">{{.Display}}</a></p>
{{end}}{{end}}</body></html>
`))

var colors = map[ops.Severity]string{ops.Critical: "#b00020", ops.High: "#d9480f", ops.Medium: "#e6a700", ops.Low: "#1971c2", ops.Info: "#868e96"}

// render writes the mail (RFC 5322, 2045 to 2047), the same for the same message.
func (ch *channel) render(m notify.Message) ([]byte, error) {
	var b bytes.Buffer
	domain := ch.from.Address[strings.LastIndexByte(ch.from.Address, '@')+1:]
	header := func(name, value string) { fmt.Fprintf(&b, "%s: %s\r\n", name, value) }
	header("From", ch.from.String())
	var to []string
	for _, a := range ch.to {
		to = append(to, a.String())
	}
	header("To", strings.Join(to, ",\r\n "))
	header("Subject", fold(mime.QEncoding.Encode("utf-8", notify.CutRunes(notify.OneLine(m.Title), 200))))
	header("Date", m.At.UTC().Format(time.RFC1123Z))
	header("Message-ID", "<"+name(m.ID)+"@"+domain+">")
	// Mail programs show what is about the same thing as one conversation.
	header("References", "<"+name(m.Subject)+".thread@"+domain+">")
	header("Auto-Submitted", "auto-generated") // RFC 3834: nobody is to answer by a machine
	header("X-Fettle-Event", fold(mime.QEncoding.Encode("utf-8", notify.OneLine(m.Event))))
	header("MIME-Version", "1.0")
	w := multipart.NewWriter(&b)
	if err := w.SetBoundary("fettle-" + name(m.ID)); err != nil {
		return nil, err
	}
	header("Content-Type", "multipart/alternative; boundary=\""+w.Boundary()+"\"")
	b.WriteString("\r\n")
	if err := part(w, "text/plain", notify.Text(m, maxText)); err != nil {
		return nil, err
	}
	html, err := ch.html(m)
	if err != nil {
		return nil, err
	}
	if err := part(w, "text/html", html); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func (ch *channel) html(m notify.Message) (string, error) {
	v := struct {
		Color, Title, Link string
		Parts, Lines       []string
		Details            [][2]string
		Tickets            []ops.NoticeTicket
	}{Color: colors[m.Severity], Title: notify.OneLine(m.Title), Link: m.Link, Details: notify.Details(m), Tickets: m.Tickets}
	if v.Color == "" {
		v.Color = colors[ops.Info]
	}
	for _, p := range []string{m.What, m.Why} {
		if p = notify.Cut(strings.TrimSpace(strings.ToValidUTF8(p, "?")), maxText/2); p != "" {
			v.Parts = append(v.Parts, p)
		}
	}
	if lines := notify.Lines(m, maxText); lines != "" {
		for l := range strings.SplitSeq(lines, "\n") {
			v.Lines = append(v.Lines, strings.TrimPrefix(l, "- "))
		}
	}
	var b strings.Builder
	err := page.Execute(&b, v)
	return b.String(), err
}

func part(w *multipart.Writer, media, text string) error {
	p, err := w.CreatePart(textproto.MIMEHeader{"Content-Type": {media + "; charset=utf-8"}, "Content-Transfer-Encoding": {"quoted-printable"}})
	if err != nil {
		return err
	}
	q := quotedprintable.NewWriter(p)
	if _, err := q.Write([]byte(strings.ReplaceAll(text, "\n", "\r\n"))); err != nil {
		return err
	}
	return q.Close()
}

// fold breaks a header between its encoded words, which may not be longer than
// a line (RFC 2047, 2).
func fold(s string) string { return strings.ReplaceAll(s, "?= =?", "?=\r\n =?") }

// name is an id that can stand in a header: a digest of what it is made of.
func name(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:16])
}

func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
