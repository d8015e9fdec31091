package cli

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"kuairelay/relay/signature"
)

// verdict is what `verify -o json` prints.
type verdict struct {
	Verified bool   `json:"verified"`
	Error    string `json:"error,omitempty"`
	Hint     string `json:"hint,omitempty"`
}

func newVerify() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "verify [FILE]",
		Short:   "Verify a signed body, or say why it does not verify",
		GroupID: groupTools,
		Long: "Verifies the bytes of FILE, or of stdin, against the three headers that they came with. If they do not\n" +
			"verify, it looks for the usual reasons, and exits with 1. Without --secret it takes " + exampleVariable + "\n" +
			"or " + secretVariable + " from the environment.",
		Example: "  kuairelay verify body.json --id evt_… --timestamp 1614265330 --signature 'v1,…' --tolerance 0\n" +
			"  kuairelay verify body.json -H 'webhook-id: evt_…' -H 'webhook-timestamp: 1614265330' \\\n" +
			"    -H 'webhook-signature: v1,…'\n" +
			"  kuairelay verify body.json -H @headers.txt",
		Args: takes(0, 1, "FILE"),
	}

	flags := cmd.Flags()
	secrets := flags.StringArray("secret", nil, "the `SECRET`, whsec_…; repeatable: any one of them will do")
	id := flags.String("id", "", "the webhook-id")
	timestamp := flags.String("timestamp", "", "the webhook-timestamp, in unix seconds")
	signatures := flags.String("signature", "", "the webhook-signature, v1,…")
	headers := flags.StringArrayP("header", "H", nil,
		"a header as `'NAME: VALUE'`, instead of these three, or @FILE with one on each line; repeatable, others are ignored")
	tolerance := flags.Duration("tolerance", signature.DefaultTolerance,
		"how far the timestamp may be from now; 0: do not look at it")

	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		keys, found, err := findKeys(*secrets)
		if err != nil {
			return err
		}

		// The headers come from --header, or one by one from their own flags.
		header, err := readHeaders(*headers)
		if err != nil {
			return err
		}
		flagged := map[string]string{
			signature.HeaderID: *id, signature.HeaderTimestamp: *timestamp, signature.HeaderSignature: *signatures,
		}
		for name, value := range flagged {
			if value != "" {
				header.Set(name, value)
			}
		}

		switch {
		case len(header) == 0:
			return usagef("verify needs the headers that the body came with: --id, --timestamp and --signature, or --header")
		case *tolerance < 0:
			return usagef("--tolerance must not be negative")
		case *tolerance == 0:
			*tolerance = -1 // signature's word for any time
		}

		body, err := readInput(cmd, strings.Join(args, ""))
		if err != nil {
			return err
		}

		v := verdict{Verified: true}
		if err := signature.Verify(keys, header, body, time.Now(), *tolerance); err != nil {
			request := signedRequest{keys: keys, secrets: found, header: header, body: body}
			v = verdict{Error: err.Error(), Hint: explain(err, request)}
		}

		return v.print(cmd, output.isJSON())
	}
	return cmd
}

func (v verdict) print(cmd *cobra.Command, asJSON bool) (err error) {
	switch {
	case asJSON:
		err = writeJSON(cmd.OutOrStdout(), v, "  ")
	case v.Verified:
		_, err = fmt.Fprintln(cmd.OutOrStdout(), "ok")
	default:
		fmt.Fprintln(cmd.ErrOrStderr(), v.Error)
		if v.Hint != "" {
			fmt.Fprintln(cmd.ErrOrStderr(), "hint: "+v.Hint)
		}
	}

	if err == nil && !v.Verified {
		err = errSaid
	}
	return err
}

// readHeaders reads what --header has: 'NAME: VALUE', or @FILE for a file with one of these on each line.
func readHeaders(values []string) (http.Header, error) {
	h := http.Header{}
	for _, value := range values {
		lines := []string{value}
		if path, ok := strings.CutPrefix(value, "@"); ok {
			text, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			lines = strings.Split(strings.TrimSpace(string(text)), "\n")
		}

		for _, line := range lines {
			name, text, ok := strings.Cut(line, ":")
			if !ok || strings.TrimSpace(name) == "" {
				return nil, usagef("--header must be 'NAME: VALUE', or @FILE with one on each line, not %q", line)
			}
			h.Set(strings.TrimSpace(name), strings.TrimSpace(text))
		}
	}
	return h, nil
}

// signedRequest is a request that does not verify, and the keys that were tried.
type signedRequest struct {
	keys    []signature.Key
	secrets []string
	header  http.Header
	body    []byte
}

// verifies says whether the request verifies with these keys and this body, at any time.
func (r signedRequest) verifies(keys []signature.Key, body []byte) bool {
	return signature.Verify(keys, r.header, body, time.Now(), -1) == nil
}

// explain guesses why a request does not verify, by trying what would verify; empty: it found nothing.
func explain(err error, r signedRequest) string {
	switch {
	case errors.Is(err, signature.ErrTimestamp) && r.verifies(r.keys, r.body):
		return "apart from its time the signature is right (--tolerance 0 does not look at the time)"
	case errors.Is(err, signature.ErrTimestamp):
		return "apart from that, the signature does not match, either (see --tolerance 0)"
	case errors.Is(err, signature.ErrMalformed) && isMilliseconds(r.header.Get(signature.HeaderTimestamp)):
		return "it looks like milliseconds; Standard Webhooks has seconds"
	case !errors.Is(err, signature.ErrMismatch):
		return ""
	}

	// The body may have been changed on its way to the tenant's code.
	for _, g := range guesses(r.body) {
		if !bytes.Equal(g.body, r.body) && r.verifies(r.keys, g.body) {
			return g.hint
		}
	}

	// Or the secret's text was used as the key, without decoding its base64.
	for _, s := range r.secrets {
		for _, text := range []string{s, strings.TrimPrefix(s, "whsec_")} {
			key, err := signature.ParseKey("whsec_" + base64.StdEncoding.EncodeToString([]byte(text)))
			if err == nil && r.verifies([]signature.Key{key}, r.body) {
				return "it was signed with the secret's text as the key; the key is what the base64 after whsec_ stands for"
			}
		}
	}

	if len(r.body) == 0 {
		return "the body is empty: perhaps it was read before it was verified"
	}
	return ""
}

func isMilliseconds(text string) bool {
	return len(text) == 13 && strings.Trim(text, "0123456789") == ""
}

// guess is a body that may be the one that was signed, and what happened to it if it is.
type guess struct {
	body []byte
	hint string
}

func guesses(body []byte) []guess {
	const anew = "the JSON was parsed and written anew; verify the raw body as it came, before any parser"
	out := []guess{
		{bytes.TrimRight(body, "\r\n"), "it verifies without the newline at the end of the body, which was not signed"},
		{append(bytes.Clone(body), '\n'), "it verifies with a newline at the end, which the body has lost"},
		{bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n")), "it verifies with LF line ends, which have become CRLF"},
		{bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")), "it verifies without the byte order mark at the start of the body"},
	}

	for _, options := range [][]jsontext.Options{
		{jsontext.PreserveRawStrings(true)},
		{jsontext.PreserveRawStrings(false)},
		{jsontext.PreserveRawStrings(false), jsontext.EscapeForHTML(true)},
	} {
		compact := jsontext.Value(bytes.Clone(body))
		if compact.Format(append(options, jsontext.AllowDuplicateNames(true))...) == nil {
			out = append(out, guess{compact, "it verifies in compact form: " + anew})
		}
	}

	return out
}
