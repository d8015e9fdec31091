package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kuairelay/relay"
)

func newReload() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "reload",
		Short:   "Have a running relay read its config again",
		GroupID: groupAPI,
		Long: "Has a running relay read its config again, as POST /-/reload of the private listener does, and prints\n" +
			"what came of it: the config that is served, warnings, and keys that wait for a restart. If the files\n" +
			"have mistakes, they are printed, the relay keeps the config from before, and the exit code is 1. It needs\n" +
			"no token: who reaches the private listener may reload. With several replicas, call each of them.",
		Example: "  kuairelay reload\n  kuairelay reload --url http://127.0.0.1:8082",
		Args:    takes(0, 0, ""),
	}

	address := cmd.Flags().String("url", operatorCaller.base, "`URL` of the relay's private listener")
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		u, err := httpURL("--url", *address)
		if err != nil {
			return err
		}
		c := &client{http: httpClient(1, time.Minute)}
		response, text, err := c.send(cmd.Context(), http.MethodPost, //nolint:bodyclose // send has closed it
			strings.TrimSuffix(u.String(), "/")+"/-/reload", nil)
		if err != nil {
			return err
		}

		if response.StatusCode == http.StatusUnprocessableEntity {
			return refusedReload(cmd, text, output.isJSON())
		}
		var result relay.ReloadResult
		switch {
		case response.StatusCode == http.StatusNotFound:
			return fmt.Errorf("%s has no /-/reload: give the private listener (admin.listen)", u.Host)
		case response.StatusCode != http.StatusOK:
			return c.explain(u.Host, response, text)
		case json.Unmarshal(text, &result) != nil || result.Fingerprint == "":
			return fmt.Errorf("%s does not answer as a relay does", u.Host)
		case output.isJSON():
			return writeJSON(cmd.OutOrStdout(), result, "  ")
		}
		printReload(cmd.OutOrStdout(), result)
		return nil
	}
	return cmd
}

// refusedReload prints the mistakes of a config that was not taken.
func refusedReload(cmd *cobra.Command, text []byte, asJSON bool) error {
	var problem struct {
		Detail string   `json:"detail"`
		Errors []string `json:"errors"`
	}
	if err := json.Unmarshal(text, &problem); err != nil {
		return fmt.Errorf("the relay refuses the config: %s", oneLine(text))
	}
	if asJSON {
		if err := writeJSON(cmd.OutOrStdout(), problem, "  "); err != nil {
			return err
		}
		return errSaid
	}
	for _, mistake := range problem.Errors {
		fmt.Fprintln(cmd.ErrOrStderr(), printable(mistake))
	}
	return fmt.Errorf("not reloaded: the relay keeps the config from before (%s)", plural(len(problem.Errors), "mistake"))
}

func printReload(w io.Writer, r relay.ReloadResult) {
	for _, warning := range r.Warnings {
		fmt.Fprintf(w, "warning: %s\n", printable(warning))
	}
	if len(r.Restart) > 0 {
		fmt.Fprintf(w, "a restart is needed for %s\n", strings.Join(r.Restart, ", "))
	}
	word := "unchanged"
	if r.Changed {
		word = "reloaded"
	}
	fmt.Fprintf(w, "%s: the relay serves config %s\n", word, r.Fingerprint)
}
