package peer

import (
	"context"
	"testing"
)

func TestMotoAnswers(t *testing.T) {
	Long(t) // Python takes seconds to begin
	url := Moto(t)
	eventually(t, func(ctx context.Context) error { return get(ctx, url+"/moto-api/") })
}
