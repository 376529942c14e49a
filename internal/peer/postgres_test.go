package peer

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestPostgresGivesEachCallADatabaseOfItsOwn(t *testing.T) {
	first, second := Postgres(t), Postgres(t)
	f := func(url, sql, want string) {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		var got string
		if err := conn.QueryRow(t.Context(), sql).Scan(&got); err != nil || got != want {
			t.Errorf("%s = %q, %v, want %q", sql, got, err, want)
		}
	}
	f(first, "SHOW fsync", "off")
	f(first, "SHOW listen_addresses", "")
	f(first, "SHOW server_encoding", "UTF8")
	if first == second {
		t.Errorf("both calls returned %s", first)
	}
	f(first, "SELECT count(*)::text FROM pg_tables WHERE schemaname = 'public'", "0")
	f(second, "SELECT 1::text", "1")
}

// TestPostgresDropsADatabaseInUse leaves a connection open on purpose: a test
// that fails half-way does.
func TestPostgresDropsADatabaseInUse(t *testing.T) {
	var url string
	t.Run("user", func(t *testing.T) {
		url = Postgres(t)
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), "CREATE TABLE note (body text)"); err != nil {
			t.Error(err)
		}
	})
	if conn, err := pgx.Connect(t.Context(), url); err == nil {
		conn.Close(context.Background())
		t.Errorf("%s still answers after its test ended", url)
	}
}
