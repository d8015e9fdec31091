package fake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// maxAnswer is the most of an answer that Push reads, in bytes. A correct answer is one word.
const maxAnswer = 1 << 10

// Push posts a callback once, and gives the answer's status and text (its first KiB). It fails if no answer came; an
// answer like 503 failure is no error. A nil client is http.DefaultClient. No error names the address, because it holds
// the callback's token.
func Push(
	ctx context.Context, client *http.Client, address, contentType string, body []byte,
) (status int, answer string, err error) {
	if client == nil {
		client = http.DefaultClient
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return 0, "", errors.New("push callback: not a valid URL")
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}

	response, err := client.Do(request)
	if err != nil {
		var withURL *url.Error // its text holds the address, and so the token
		if errors.As(err, &withURL) {
			err = withURL.Err
		}
		return 0, "", fmt.Errorf("push callback: %w", err)
	}
	defer response.Body.Close()

	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return response.StatusCode, string(text), fmt.Errorf("read answer to callback: %w", err)
	}
	return response.StatusCode, string(text), nil
}
