package house

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// Call makes an API call as the admin and decodes the answer into out, unless
// that is nil. Any answer but 2xx is an error.
func (h *House) Call(ctx context.Context, method, path string, in, out any) error {
	token, err := os.ReadFile(filepath.Join(h.Dir, "admin.token"))
	if err != nil {
		return err
	}
	return h.CallAs(ctx, strings.TrimSpace(string(token)), method, path, in, out)
}

// CallAs is Call with a credential.
func (h *House) CallAs(ctx context.Context, token, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, h.Base+"/api/v1"+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, b)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(b, out)
}
