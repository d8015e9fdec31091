package cli

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/subscribe"
)

const (
	// keyVariable is where config.example.yaml looks for the API key of its tenant, and exampleKey is what it takes
	// otherwise. The variable belongs to one installation, so it counts after apiKeyVariable.
	keyVariable = "SHOP_API_KEY"
	exampleKey  = "example-api-key-change-me"
)

func newSubscribe() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "subscribe CP_CODE WAYBILL...",
		Short:   "Subscribe waybills as a tenant, through a running relay",
		GroupID: groupTools,
		Long: "Asks a running relay to subscribe waybills of one brand (" + strings.Join(kuaidihelp.Brands(), ", ") + ")\n" +
			"for the tenant whose API key is given. Without a key, a relay on this machine takes that of\n" +
			"config.example.yaml. With - the waybills are read from stdin, one per line. Exits with 1 if any of\n" +
			"them failed.",
		Example: "  kuairelay subscribe zt 777005949070187\n" +
			"  kuairelay subscribe sto - < waybills.txt -o json",
		Args: takes(2, 1<<20, "CP_CODE and at least one WAYBILL"),
	}

	flags := addTenantFlags(cmd)
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := flags.tenantClient()
		if err != nil {
			return err
		}

		codes, err := waybillCodes(cmd, args[1:])
		if err != nil {
			return err
		}

		var all []subscribe.WaybillResult
		const most = 1000 // of one request
		for some := range slices.Chunk(codes, most) {
			got, err := c.subscribe(cmd.Context(), args[0], some)
			if err != nil {
				return err
			}
			all = append(all, got...)
		}

		if output.isJSON() {
			err = writeJSON(cmd.OutOrStdout(), all, "  ")
		} else {
			printSubscribed(newScreen(cmd.OutOrStdout()), all)
		}

		// All results are shown before one that failed makes the command fail.
		for _, r := range all {
			if err == nil && r.Result == subscribe.Failed {
				err = errSaid
			}
		}
		return err
	}
	return cmd
}

// waybillCodes returns the arguments or, for "-", the words of stdin.
func waybillCodes(cmd *cobra.Command, args []string) ([]string, error) {
	if len(args) != 1 || args[0] != "-" {
		return args, nil
	}

	text, err := readInput(cmd, "-")
	if err != nil {
		return nil, err
	}

	codes := strings.Fields(string(text))
	if len(codes) == 0 {
		return nil, usagef("stdin holds no waybill")
	}
	return codes, nil
}

// subscribe makes one request, and returns the results in the order of codes.
func (c *client) subscribe(ctx context.Context, brand string, codes []string) ([]subscribe.WaybillResult, error) {
	var answer struct{ Results []subscribe.WaybillResult }
	err := c.post(ctx, "/subscriptions", map[string]any{"cp_code": brand, "waybill_codes": codes}, &answer)
	return answer.Results, err
}

func printSubscribed(out *screen, all []subscribe.WaybillResult) {
	out.row(label("CP_CODE", 7), label("WAYBILL", 18), label("RESULT", 10), label("CODE", 6), label("MESSAGE", 0))
	for _, r := range all {
		mark := good
		code := "-"
		switch r.Result {
		case subscribe.Failed:
			mark = bad
			code = strconv.Itoa(r.Code)
		case subscribe.Pending:
			mark = plain
			if r.Code != 0 { // no record yet
				code = strconv.Itoa(r.Code)
			}
		}

		out.row(column(printable(r.CPCode), 7), column(printable(r.WaybillCode), 18),
			cell{text: string(r.Result), width: 10, mark: mark}, column(code, 6), column(printable(cmp.Or(r.Msg, r.Warning)), 0))
	}
}
