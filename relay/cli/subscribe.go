package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kuairelay/relay/kuaidihelp"
)

const (
	// keyVariable is where config.example.yaml looks for the API key of its tenant, exampleKey what it takes otherwise.
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
}

func newSubscribe() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "subscribe CP_CODE WAYBILL...",
		Short:   "Subscribe waybills as a tenant, through a running relay",
		GroupID: groupTools,
		Long: "Asks a running relay to subscribe waybills of one brand (" + strings.Join(kuaidihelp.Brands(), ", ") + ") for the tenant whose API key is\n" +
			"in " + keyVariable + " or --key-file, otherwise for that of config.example.yaml. With - the waybills are read from stdin, one per line.\n" +
			"Exits with 1 if any of them failed.",
		Example: "  kuairelay subscribe zt 777005949070187\n" +
			"  kuairelay subscribe sto - < waybills.txt -o json",
		Args: takes(2, 1<<20, "CP_CODE and at least one WAYBILL"),
	}
	to := cmd.Flags().String("to", "http://127.0.0.1:8080", "the relay's `URL`")
	keyFile := cmd.Flags().String("key-file", "", "a `FILE` that holds the tenant's API key")
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		u, err := httpURL("--to", *to)
		if err != nil {
			return err
		}
		key, err := tenantKey(*keyFile)
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
			got, err := postSubscriptions(cmd.Context(), strings.TrimSuffix(u.String(), "/"), key, args[0], codes[from:min(from+most, len(codes))])
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

// tenantKey is the key in the file, or else in the environment, or else that of config.example.yaml.
func tenantKey(file string) (string, error) {
	if file == "" {
		return cmp.Or(os.Getenv(keyVariable), exampleKey), nil
	}
	text, err := os.ReadFile(file)
	return strings.TrimSpace(string(text)), err
}

// postSubscriptions makes one request, and makes an error of any answer but 200.
func postSubscriptions(ctx context.Context, to, key, brand string, codes []string) ([]subscribed, error) {
	body, err := json.Marshal(map[string]any{"cp_code": brand, "waybill_codes": codes})
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, to+"/v1/subscriptions", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+key)
	request.Header.Set("Content-Type", "application/json")
	response, err := httpClient(1, time.Minute).Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask the relay: %s", why(err))
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxInput))
	if err != nil {
		return nil, fmt.Errorf("ask the relay: %s", why(err))
	}
	var answer struct {
		Results []subscribed
		Detail  string
	}
	err = json.Unmarshal(text, &answer)
	switch {
	case response.StatusCode == http.StatusOK && err == nil:
		return answer.Results, nil
	case response.StatusCode == http.StatusUnauthorized:
		return nil, errors.New("the relay does not know the API key (set " + keyVariable + ", or --key-file)")
	}
	said := cmp.Or(answer.Detail, oneLine(text))
	if after := response.Header.Get("Retry-After"); after != "" {
		said += "; try again in " + after + " s"
	}
	return nil, fmt.Errorf("the relay answered %s: %s", response.Status, said)
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
		out.row(cell{printable(r.CPCode), 7, plain}, cell{printable(r.WaybillCode), 18, plain}, cell{r.Result, 10, mark}, cell{code, 6, plain}, cell{printable(r.Msg), 0, plain})
	}
}
