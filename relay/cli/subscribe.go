package cli

import (
	"cmp"
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"kuairelay/relay/kuaidihelp"
)

const (
	// keyVariable is where config.example.yaml looks for the API key of its tenant, exampleKey what it takes otherwise. The variable is that
	// of one installation: it counts after apiKeyVariable.
	keyVariable = "SHOP_API_KEY"
	exampleKey  = "example-api-key-change-me"
)

// subscribed is one result of the API.
type subscribed struct {
	CPCode      string `json:"cp_code"`
	WaybillCode string `json:"waybill_code"`
	Result      string `json:"result"`
	Code        int    `json:"code,omitempty"`
	Msg         string `json:"msg,omitempty"`
	UID         string `json:"uid,omitempty"`
	Warning     string `json:"warning,omitempty"`
}

func newSubscribe() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "subscribe CP_CODE WAYBILL...",
		Short:   "Subscribe waybills as a tenant, through a running relay",
		GroupID: groupTools,
		Long: "Asks a running relay to subscribe waybills of one brand (" + strings.Join(kuaidihelp.Brands(), ", ") + ") for the tenant whose API key is\n" +
			"given, otherwise, at a relay on this machine, for that of config.example.yaml. With - the waybills are read from stdin, one per\n" +
			"line. Exits with 1 if any of them failed.",
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
		codes := args[1:]
		if len(codes) == 1 && codes[0] == "-" {
			text, err := readInput(cmd, "-")
			if err != nil {
				return err
			}
			if codes = strings.Fields(string(text)); len(codes) == 0 {
				return usagef("stdin holds no waybill")
			}
		}
		var all []subscribed
		const most = 1000 // of one request
		for from := 0; from < len(codes); from += most {
			got, err := c.subscribe(cmd.Context(), args[0], codes[from:min(from+most, len(codes))])
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
		for _, r := range all {
			if err == nil && r.Result == "failed" {
				err = errSaid
			}
		}
		return err
	}
	return cmd
}

// subscribe makes one request.
func (c *client) subscribe(ctx context.Context, brand string, codes []string) ([]subscribed, error) {
	var answer struct{ Results []subscribed }
	err := c.post(ctx, "/subscriptions", map[string]any{"cp_code": brand, "waybill_codes": codes}, &answer)
	return answer.Results, err
}

func printSubscribed(out *screen, all []subscribed) {
	out.row(cell{"CP_CODE", 7, faint}, cell{"WAYBILL", 18, faint}, cell{"RESULT", 10, faint}, cell{"CODE", 6, faint}, cell{"MESSAGE", 0, faint})
	for _, r := range all {
		mark, code := good, "-"
		switch r.Result {
		case "failed":
			mark, code = bad, strconv.Itoa(r.Code)
		case "pending":
			mark = plain
		}
		out.row(cell{printable(r.CPCode), 7, plain}, cell{printable(r.WaybillCode), 18, plain}, cell{r.Result, 10, mark}, cell{code, 6, plain}, cell{printable(cmp.Or(r.Msg, r.Warning)), 0, plain})
	}
}
