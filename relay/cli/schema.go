package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"kuairelay/relay/config"
)

func newSchema() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON Schema of the config, for editors",
		GroupID: groupRelay,
		Long: "Prints the JSON Schema of a config file or, with --tenant, of a file in tenants_dir, so that an\n" +
			"editor completes the keys and marks mistakes while you type. Editors with the YAML language server\n" +
			"find it by a first line like\n" +
			"  # yaml-language-server: $schema=kuairelay.schema.json",
		Example: "  kuairelay schema > kuairelay.schema.json\n" +
			"  kuairelay schema --tenant > tenants.d/tenant.schema.json",
		Args: takes(0, 0, ""),
	}

	tenant := cmd.Flags().Bool("tenant", false, "that of a tenant's file in tenants_dir")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		text, err := config.JSONSchema(*tenant)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", text)
		return err
	}
	return cmd
}
