package rt

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"golang.org/x/net/html"

	"github.com/fettleops/fettle/connector"
	"github.com/fettleops/fettle/ops"
)

var (
	noteID = regexp.MustCompile(`^[0-9A-Za-z._:-]+$`)
	// mark ends the first line of what we write, so that it is recognised.
	mark = regexp.MustCompile(`^(.*?) ?\[fettle:([0-9A-Za-z._:-]+)\]$`)
)

// marked puts the mark into a text.
func marked(id, s string) string {
	first, rest, more := strings.Cut(s, "\n")
	first = strings.TrimRight(first, "\r") + " [fettle:" + id + "]"
	if more {
		return first + "\n" + rest
	}
	return first
}

// unmarked takes the mark out again; id is empty when there is none.
func unmarked(s string) (id, rest string) {
	first, more, isMore := strings.Cut(s, "\n")
	m := mark.FindStringSubmatch(strings.TrimRight(first, " \r"))
	if m == nil {
		return "", s
	}
	if isMore {
		return m[2], m[1] + "\n" + more
	}
	return m[2], m[1]
}

// resolutionID recognises the message of one resolution.
func resolutionID(code, note string) string {
	sum := sha256.Sum256([]byte(code + "\x00" + note))
	return "resolution-" + hex.EncodeToString(sum[:8])
}

func message(s string) content { return content{"Content": s, "ContentType": "text/plain"} }

// transactions returns the entries a query finds, oldest first. A page may be
// short of those we may not see, so only an empty one ends the list.
func (p *platform) transactions(ctx context.Context, query string) ([]transaction, http.Header, error) {
	var page found[transaction]
	v := url.Values{"query": {query}, "fields": {transactionFields}, "orderby": {"id"}, "per_page": {pageSize}}
	h, err := p.call(ctx, connector.Read, http.MethodGet, "/transactions", v, nil, &page)
	return page.Items, h, err
}

// newest returns the last entry a query finds, 0 for none.
func (p *platform) newest(ctx context.Context, query string) (int64, error) {
	var page found[transaction]
	v := url.Values{"query": {query}, "orderby": {"id"}, "order": {"DESC"}, "per_page": {"1"}}
	_, err := p.call(ctx, connector.Read, http.MethodGet, "/transactions", v, nil, &page)
	if err != nil || len(page.Items) == 0 {
		return 0, err
	}
	return page.Items[0].ID.number(), nil
}

// sinceStatus reports whether a message of ours came after the status was last
// set.
func (p *platform) sinceStatus(ctx context.Context, ref, id string) (bool, error) {
	last, err := p.newest(ctx, statusQuery(ref))
	if err != nil {
		return false, err
	}
	notes, err := p.notes(ctx, ref, last)
	for _, n := range notes {
		if n.Own && n.ID == id {
			return true, err
		}
	}
	return false, err
}

// notes returns the messages of a ticket after a transaction, oldest first.
func (p *platform) notes(ctx context.Context, ref string, after int64) ([]connector.Note, error) {
	var all []transaction
	for last := after; ; {
		page, _, err := p.transactions(ctx, notesQuery(ref, last))
		if err != nil {
			return nil, err
		}
		for _, t := range page {
			last = max(last, t.ID.number())
			all = append(all, t)
		}
		// The account sees all messages or none: a short page is the last.
		if len(page) < pageRows {
			break
		}
	}
	return p.read(ctx, ref, all)
}

// read fetches the texts of messages.
func (p *platform) read(ctx context.Context, ref string, messages []transaction) ([]connector.Note, error) {
	if len(messages) == 0 {
		return nil, nil
	}
	user, err := p.whoami(ctx)
	if err != nil {
		return nil, err
	}
	texts, err := p.texts(ctx, ref, messages)
	if err != nil {
		return nil, err
	}
	out := make([]connector.Note, 0, len(messages))
	for _, m := range messages {
		by := string(m.Creator.ID)
		n := connector.Note{Note: ops.Note{ID: string(m.ID), At: m.Created.Time, Author: by, Text: texts[m.ID]}, Own: by == user}
		if id, rest := unmarked(n.Text); n.Own && id != "" {
			n.ID, n.Text = id, rest
		}
		out = append(out, n)
	}
	return out, nil
}

// texts returns the text of each message. People's own pages send HTML, and a
// mail may hold the same text twice: plain text is preferred, the first part
// wins, and files are left out.
func (p *platform) texts(ctx context.Context, ref string, messages []transaction) (map[text]string, error) {
	parts := map[text]attachment{}
	missing := map[text]bool{}
	for _, m := range messages {
		missing[m.ID] = true
	}
	for last := int64(0); len(missing) > 0; {
		var page found[attachment]
		v := url.Values{
			"query":  {textsQuery(messages[0].ID.number(), last)},
			"fields": {attachmentFields}, "orderby": {"id"}, "per_page": {pageSize},
		}
		if _, err := p.call(ctx, connector.Read, http.MethodGet, "/ticket/"+ref+"/attachments", v, nil, &page); err != nil {
			return nil, err
		}
		if len(page.Items) == 0 {
			break
		}
		for _, a := range page.Items {
			last = max(last, a.ID.number())
			had, there := parts[a.TransactionID]
			if a.Filename == "" && (!there || had.ContentType != "text/plain" && a.ContentType == "text/plain") {
				parts[a.TransactionID] = a
				delete(missing, a.TransactionID)
			}
		}
	}
	out := map[text]string{}
	for id, a := range parts {
		out[id] = strings.ReplaceAll(a.Content, "\r\n", "\n")
		if a.ContentType == "text/html" {
			out[id] = plain(a.Content)
		}
	}
	return out, nil
}

// plain returns the text of an HTML message, a line for each block.
func plain(s string) string {
	var b strings.Builder
	skip := false
	for z := html.NewTokenizer(strings.NewReader(s)); ; {
		switch z.Next() {
		case html.ErrorToken:
			return strings.TrimSpace(b.String())
		case html.TextToken:
			if !skip {
				b.WriteString(strings.ReplaceAll(string(z.Text()), "\u00a0", " "))
			}
		case html.StartTagToken, html.SelfClosingTagToken:
			name, _ := z.TagName()
			skip = string(name) == "style" || string(name) == "script"
			if string(name) == "br" {
				b.WriteByte('\n')
			}
		case html.EndTagToken:
			skip = false
			switch name, _ := z.TagName(); string(name) {
			case "p", "div", "li", "tr", "h1", "h2", "h3", "pre", "blockquote":
				if !strings.HasSuffix(b.String(), "\n") {
					b.WriteByte('\n')
				}
			}
		}
	}
}
