package cli

import (
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kuairelay/relay/signature"
)

// signed is what `sign -o json` prints.
type signed struct {
	ID        string `json:"webhook-id"`
	Timestamp string `json:"webhook-timestamp"`
	Signature string `json:"webhook-signature"`
}

func newSign() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "sign [FILE]",
		Short:   "Sign a body, by Standard Webhooks",
		GroupID: groupTools,
		Long: "Prints the three headers of Standard Webhooks for the bytes of FILE, or of stdin. Without --secret\n" +
			"it takes " + exampleVariable + " or " + secretVariable + " from the environment, where other users of the\n" +
			"machine do not see it.",
		Example: "  kuairelay sign body.json --secret whsec_… --id msg_1 --timestamp 1614265330\n" +
			"  printf '{\"test\":1}' | kuairelay sign --secret whsec_… -o json",
		Args: takes(0, 1, "FILE"),
	}

	secrets := cmd.Flags().StringArray("secret", nil, "the `SECRET`, whsec_…; repeatable: each one signs")
	id := cmd.Flags().String("id", "", "the webhook-id (default: a new one, msg_…)")
	timestamp := cmd.Flags().Int64("timestamp", 0, "the webhook-timestamp in unix seconds (default: now)")
	output := outputFlag(cmd)

	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		keys, _, err := findKeys(*secrets)
		if err != nil {
			return err
		}
		if cmd.Flags().Changed("timestamp") && *timestamp < 0 {
			return usagef("--timestamp must not be negative")
		}

		body, err := readInput(cmd, strings.Join(args, ""))
		if err != nil {
			return err
		}

		at := time.Now()
		if cmd.Flags().Changed("timestamp") {
			at = time.Unix(*timestamp, 0)
		}
		if *id == "" {
			*id = "msg_" + rand.Text()
		}

		s := signed{ID: *id, Timestamp: strconv.FormatInt(at.Unix(), 10), Signature: signature.Sign(keys, *id, at, body)}
		if output.isJSON() {
			return writeJSON(cmd.OutOrStdout(), s, "  ")
		}

		// The newline is rarely meant, and easily overlooked.
		if strings.HasSuffix(string(body), "\n") {
			fmt.Fprintln(cmd.ErrOrStderr(), "note: the body ends with a newline, which is signed, too")
		}

		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n%s: %s\n%s: %s\n",
			signature.HeaderID, s.ID, signature.HeaderTimestamp, s.Timestamp, signature.HeaderSignature, s.Signature)
		return err
	}
	return cmd
}
