package store

import (
	"fmt"
	"strings"
)

// query builds a SELECT whose conditions are joined by AND. Conditions write ?
// for a value, which becomes the next $N.
type query struct {
	text  strings.Builder
	args  []any
	conds int
}

func newQuery(head string) *query {
	q := &query{}
	q.text.WriteString(head)
	return q
}

func (q *query) where(cond string, values ...any) {
	q.text.WriteString([]string{" WHERE ", " AND "}[min(q.conds, 1)])
	q.conds++
	q.add(cond, values...)
}

func (q *query) add(text string, values ...any) {
	for _, v := range values {
		q.args = append(q.args, v)
		text = strings.Replace(text, "?", fmt.Sprintf("$%d", len(q.args)), 1)
	}
	q.text.WriteString(text)
}

func (q *query) end(tail string, values ...any) (string, []any) {
	q.add(tail, values...)
	return q.text.String(), q.args
}

// whereIn selects rows whose column has one of the words; none selects all.
func whereIn[T ~string](q *query, column string, words []T) {
	if len(words) == 0 {
		return
	}
	marks := make([]string, len(words))
	values := make([]any, len(words))
	for i, w := range words {
		marks[i], values[i] = "?", string(w)
	}
	q.where(column+" IN ("+strings.Join(marks, ",")+")", values...)
}

func limit(n int) int64 {
	if n <= 0 || n > 1000 {
		return 100
	}
	return int64(n)
}

// escapeLike makes a text match itself in LIKE ... ESCAPE '\'.
func escapeLike(s string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s)
}
