package store_test

import (
	"testing"

	"github.com/fettleops/fettle/store"
)

func TestParseNumber(t *testing.T) {
	f := func(in, wantPrefix string, wantN int64, wantOK bool) {
		t.Helper()
		prefix, n, ok := store.ParseNumber(in)
		if prefix != wantPrefix || n != wantN || ok != wantOK {
			t.Errorf("ParseNumber(%q) = %q, %d, %v", in, prefix, n, ok)
		}
	}
	f("INC-42", "INC", 42, true)
	f("chg-7", "CHG", 7, true)
	for _, no := range []string{"", "42", "INC", "INC-", "-42", "INC-042", "INC-4x", "IN C-4", "INC--4", "INC-99999999999999999999", "0190f6e2-7c00-7000-8000-000000000000"} {
		f(no, "", 0, false)
	}
}
