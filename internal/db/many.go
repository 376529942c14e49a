package db

import (
	"context"
	"strconv"
	"strings"
)

// manyRows is how many rows one statement of InsertMany carries; the same
// text every time, so that it is prepared once.
const manyRows = 32

// InsertMany runs "head VALUES (...),(...) tail" for all rows, in statements
// of up to 32 rows. Each row has the same number of values, and no two rows
// may touch the same key: PostgreSQL refuses that in one statement.
func InsertMany(ctx context.Context, tx Tx, head, tail string, rows [][]any) error {
	if len(rows) == 0 {
		return nil
	}
	width, mark := len(rows[0]), "?"
	if tx.SQL() == nil {
		mark = "$"
	}
	full := ""
	args := make([]any, 0, manyRows*width)
	for len(rows) > 0 {
		n := 1
		query := ""
		if len(rows) >= manyRows {
			n = manyRows
			if full == "" {
				full = head + values(n, width, mark) + tail
			}
			query = full
		} else {
			query = head + values(1, width, mark) + tail
		}
		args = args[:0]
		for _, r := range rows[:n] {
			args = append(args, r...)
		}
		if _, err := tx.Exec(ctx, query, args...); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// values returns " VALUES ($1,$2),($3,$4) " for n rows of width values, or the
// same with bare question marks: the SQLite driver compares every numbered
// parameter with every argument as text, which for a wide statement costs more
// than running it.
func values(n, width int, mark string) string {
	var b strings.Builder
	b.Grow(16 + n*width*5)
	b.WriteString(" VALUES ")
	k := 0
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('(')
		for j := range width {
			if j > 0 {
				b.WriteByte(',')
			}
			k++
			b.WriteString(mark)
			if mark == "$" {
				b.WriteString(strconv.Itoa(k))
			}
		}
		b.WriteByte(')')
	}
	b.WriteByte(' ')
	return b.String()
}
