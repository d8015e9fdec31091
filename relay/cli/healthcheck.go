package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"kuairelay/relay"
	"kuairelay/relay/api"
	"kuairelay/relay/deliver"
)

func newHealthcheck() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "healthcheck",
		Short:   "Ask a running relay whether it is alive, or ready",
		GroupID: groupRelay,
		Long: "Asks a relay's /healthz (alive) or /readyz (able to accept callbacks durably). Exits with 0 if it\n" +
			"is, and with 1 if it is not or does not answer. A degraded relay is able to accept callbacks: the\n" +
			"exit code is 0, and the output says what is wrong. The Docker image uses this command.",
		Example: "  kuairelay healthcheck --url http://127.0.0.1:8080/readyz",
		Args:    takes(0, 0, ""),
	}

	address := cmd.Flags().String("url", "http://127.0.0.1:8080/healthz", "the URL to ask")
	timeout := cmd.Flags().Duration("timeout", 3*time.Second, "how long to wait for the answer")

	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		u, err := httpURL("--url", *address)
		if err != nil {
			return err
		}

		ctx, cancel := context.WithTimeout(cmd.Context(), *timeout)
		defer cancel()

		request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
		if err != nil {
			return err
		}

		response, err := httpClient(1, *timeout).Do(request)
		if err != nil {
			return fmt.Errorf("unhealthy: %s: %s", u.Redacted(), why(err))
		}
		defer response.Body.Close()

		text, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("unhealthy: %s: %s %s", u.Redacted(), response.Status, oneLine(text))
		}

		// A relay that is degraded accepts callbacks, so it counts as healthy.
		word := "healthy"
		if wrong := degraded(text); wrong != "" {
			word = "healthy, but degraded (" + wrong + ")"
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s: %s\n", word, u.Redacted(), response.Status)
		return err
	}
	return cmd
}

// degraded says what is wrong with a relay that accepts callbacks, by its answer to /readyz; empty: nothing.
func degraded(answer []byte) string {
	var ready struct {
		Status       api.Readiness
		Redis, Spool string
		Config       struct{ Reload string }
	}
	if json.Unmarshal(answer, &ready) != nil || ready.Status != api.Degraded {
		return "" // /healthz, or no trouble
	}

	var wrong []string
	if !slices.Contains([]string{"", "up", "embedded"}, ready.Redis) { // empty: the public listener does not say
		wrong = append(wrong, "redis is "+printable(ready.Redis))
	}
	if !slices.Contains([]string{"", "ok"}, ready.Spool) {
		wrong = append(wrong, "the spool is "+printable(ready.Spool))
	}
	if ready.Config.Reload == relay.ReloadFailed {
		wrong = append(wrong, "the config's files have mistakes, and the one from before serves")
	}

	return cmp.Or(strings.Join(wrong, "; "), "kuairelay status says why")
}

// httpURL reads the value of a flag that must be an absolute http or https URL. The error does not repeat the value:
// a path may hold a token.
func httpURL(flag, value string) (*url.URL, error) {
	u, err := url.Parse(value)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return nil, usagef("%s must be an http or https URL with a host, like http://127.0.0.1:8080/…", flag)
	}
	return u, nil
}

// why says what a network error means, without addresses: a path may hold a token, and local ports differ each time.
func why(err error) string {
	var timeout interface{ Timeout() bool }
	var number syscall.Errno

	switch {
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.As(err, &number):
		return number.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed before the answer"
	}

	return deliver.PlainError(err)
}
