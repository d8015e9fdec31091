package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"kuairelay/relay/signature"
)

func newKeygen() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "keygen",
		Short:   "Make a secret to sign webhooks with",
		GroupID: groupTools,
		Long: "Prints a new secret: whsec_ and the base64 of 32 random bytes. Put it into the secrets of an\n" +
			"endpoint, and give it to the tenant, whose library of Standard Webhooks takes it as it is.\n\n" +
			"To replace a secret that is in use, let both sign for a while, the old one until a time:\n\n" +
			"  secrets: [ \"${NEW}\", {secret: \"${OLD}\", until: 2026-12-31T18:00:00+08:00} ]",
		Example: "  kuairelay keygen > shop.secret        # and in the config:  secrets: [ file:shop.secret ]",
		Args:    takes(0, 0, ""),
	}

	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if _, err := fmt.Fprintln(cmd.OutOrStdout(), signature.NewSecret()); err != nil {
			return err
		}
		if isTerminal(cmd.OutOrStdout()) {
			fmt.Fprintln(cmd.ErrOrStderr(), "Keep it out of the config file: secrets: [ \"${SHOP_SECRET}\" ] or "+
				"[ file:shop.secret ]. The tenant gets the same.")
		}
		return nil
	}
	return cmd
}
