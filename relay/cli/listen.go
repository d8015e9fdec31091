package cli

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"kuairelay/relay/deliver"
	"kuairelay/relay/signature"
)

const (
	// secretVariable is where the receivers of the pages look for their secret, and exampleVariable where
	// config.example.yaml looks for that of its tenant.
	secretVariable, exampleVariable = "WEBHOOK_SECRET", "SHOP_SECRET"
	// exampleSecret is what config.example.yaml signs with otherwise, and exampleAlerts what its second endpoint
	// signs with: public, and so no secrets.
	exampleSecret = "whsec_a3VhaXJlbGF5IGV4YW1wbGUsIG5vdCBhIHNlY3JldCE="
	exampleAlerts = "whsec_a3VhaXJlbGF5IGV4YW1wbGUsIGFsZXJ0cywgbm8gc2VjcmV0"
)

func newListen() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "listen",
		Short:   "Play a tenant: verify webhooks and print them",
		GroupID: groupTools,
		Long: "Listens for webhooks on any path, verifies every signature, and prints one line each. A webhook whose\n" +
			"signature is wrong is answered 401. Without --secret it takes " + exampleVariable + " or " + secretVariable + "\n" +
			"from the environment, or the secrets of config.example.yaml.",
		Example: "  kuairelay listen                                       # the tenant of config.example.yaml\n" +
			"  kuairelay listen --listen :9000 --fail-rate 0.2        # one webhook in five is answered 500\n" +
			"  kuairelay listen -o json | jq -r .waybill",
		Args: takes(0, 0, ""),
	}

	flags := cmd.Flags()
	address := flags.String("listen", "127.0.0.1:9000", "the `ADDRESS` to listen on")
	secrets := flags.StringArray("secret", nil, "a `SECRET`, whsec_…, that requests may be signed with; repeatable")
	status := flags.Int("status", http.StatusOK, "answer this HTTP status")
	delay := flags.Duration("delay", 0, "hold each answer back for so long")
	failRate := flags.Float64("fail-rate", 0, "answer 500 to this share of webhooks, from 0 to 1")
	output := outputFlag(cmd)

	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case *status < 200 || *status > 599:
			return usagef("--status must be from 200 to 599")
		case *delay < 0:
			return usagef("--delay must not be negative")
		case !(*failRate >= 0 && *failRate <= 1):
			return usagef("--fail-rate must be from 0 to 1")
		}

		// Without a secret of one's own, it plays the tenant of the example.
		found, from, err := findSecrets(*secrets)
		if err != nil {
			found = []string{exampleSecret, exampleAlerts}
			from = "config.example.yaml"
		}
		keys, err := parseKeys(from, found)
		if err != nil {
			return err
		}

		l, err := (&net.ListenConfig{}).Listen(cmd.Context(), "tcp", *address)
		if err != nil {
			return errors.New(deliver.PlainError(err))
		}

		stderr := cmd.ErrOrStderr()
		sum := tally{}
		fmt.Fprintf(stderr, "Listening on %s, any path, and verifying with %s of %s. Ctrl-C stops it.\n",
			baseURL(l.Addr()), plural(len(keys), "secret"), from)

		show := webhookPrinter(cmd.OutOrStdout(), output.isJSON())
		r := &receiver{keys: keys, delay: *delay,
			answer: func(webhook) int {
				if rand.Float64() < *failRate {
					return http.StatusInternalServerError
				}
				return *status
			},
			show: func(got webhook) { sum.add(got); show(got) },
		}

		err = serveUntil(cmd.Context(), l, r)
		r.mu.Lock() // an answer that is held back may outlive the server
		defer r.mu.Unlock()
		fmt.Fprintln(stderr, sum)
		return err
	}
	return cmd
}

// findSecrets returns the secrets of the flags, or that of the environment, and where they come from.
func findSecrets(flags []string) (secrets []string, from string, err error) {
	if len(flags) > 0 {
		return flags, "--secret", nil
	}
	for _, variable := range []string{exampleVariable, secretVariable} {
		if secret := os.Getenv(variable); secret != "" {
			return []string{secret}, variable, nil
		}
	}

	return nil, "", usagef("a secret is missing: --secret whsec_…, or %s in the environment", secretVariable)
}

// findKeys is findSecrets, and returns the keys that the secrets hold as well.
func findKeys(flags []string) (keys []signature.Key, secrets []string, err error) {
	secrets, from, err := findSecrets(flags)
	if err != nil {
		return nil, nil, err
	}
	keys, err = parseKeys(from, secrets)
	return keys, secrets, err
}

// parseKeys reads secrets. Its error names where they come from, and nothing of the secrets.
func parseKeys(from string, secrets []string) ([]signature.Key, error) {
	keys := make([]signature.Key, len(secrets))
	for i, s := range secrets {
		var err error
		if keys[i], err = signature.ParseKey(s); err != nil {
			return nil, usagef("%s: %v", from, err)
		}
	}
	return keys, nil
}

// webhookPrinter returns a function that prints a webhook on one line.
func webhookPrinter(w io.Writer, asJSON bool) func(webhook) {
	if asJSON {
		return func(got webhook) { _ = writeJSON(w, got, "") }
	}

	s := newScreen(w)
	s.row(label("TIME", 12), label("SIG", 3), label("ANSWER", 6), label("TYPE", 18), label("WAYBILL", 15),
		label("REASON", 8), label("SEQUENCE", 13), label("PATH", 7), label("ID", 0))

	return func(got webhook) {
		cells := []cell{column(got.Time.Format("15:04:05.000"), 12), verifiedCell(got.Verified), answerCell(got.Answer)}

		if got.Verified {
			to := got.Path
			if got.Seen > 1 {
				to = fmt.Sprintf("%s (no. %d)", to, got.Seen)
			}
			cells = append(cells, webhookCells(got)...)
			s.row(append(cells, column(printable(to), 7), column(printable(got.ID), 0))...)
			return
		}

		// Why comes first: of the rest nothing can be believed.
		s.row(append(append(cells, marked(printable(got.Error), bad)), webhookCells(got)...)...)
	}
}

// webhookCells returns what a webhook says about itself.
func webhookCells(got webhook) []cell {
	sequence := ""
	if got.Sequence != 0 {
		sequence = strconv.FormatInt(got.Sequence, 10)
	}
	return []cell{column(printable(got.Type), 18), column(printable(got.Waybill), 15), column(printable(got.Reason), 8),
		{printable(sequence), 13, plain}}
}

func verifiedCell(verified bool) cell {
	if verified {
		return cell{text: "✓", width: 3, mark: good}
	}
	return cell{text: "✗", width: 3, mark: bad}
}

func answerCell(status int) cell {
	c := column(strconv.Itoa(status), 6)
	if status >= 300 {
		c.mark = bad
	}
	return c
}

// tally counts webhooks.
type tally struct{ all, verified, again int }

func (t *tally) add(got webhook) {
	t.all++
	if got.Verified {
		t.verified++
	}
	if got.Seen > 1 {
		t.again++
	}
}

func (t tally) String() string {
	return fmt.Sprintf("%s: %d verified, %d not; %d with an id that came before.",
		plural(t.all, "webhook"), t.verified, t.all-t.verified, t.again)
}
