package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kuairelay/relay"
	"kuairelay/relay/api"
	"kuairelay/relay/config"
	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/ledger"
)

// exported is a subscription as export writes it and import reads it: one line of JSON.
type exported struct {
	Tenant      string       `json:"tenant"`
	CPCode      string       `json:"cp_code"`
	WaybillCode string       `json:"waybill_code"`
	Since       time.Time    `json:"since"`
	Expires     time.Time    `json:"expires"`
	State       ledger.State `json:"state"`
	Code        int          `json:"code,omitempty"`
	Msg         string       `json:"msg,omitempty"`
	UID         string       `json:"uid,omitempty"`
}

func newSubscriptions() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "subscriptions",
		Short:   "List a tenant's subscriptions, or count them; export and import all of them",
		GroupID: groupAPI,
		Long: "Lists the subscriptions of a tenant, or of a waybill, from a running relay.\n\n" +
			"The ledger holds which tenant has subscribed which waybill. It is lost if Redis loses its data,\n" +
			"although kuaidihelp goes on pushing. So export it regularly, and import it into the new Redis. Both\n" +
			"commands connect to redis.url of the config. Without redis.url, export asks the running relay.",
		Example: "  kuairelay subscriptions --tenant shop --state failed\n" +
			"  kuairelay subscriptions export -c config.yaml > ledger.jsonl",
		Args: takes(0, 0, ""),
	}
	listSubscriptions(cmd)
	cmd.AddCommand(newSubscriptionSummary(), newExport(), newImport())
	return cmd
}

// listSubscriptions makes the command list the subscriptions of a tenant through the API.
func listSubscriptions(cmd *cobra.Command) {
	flags := addAPIFlags(cmd)
	tenant := cmd.Flags().String("tenant", "", "of this `TENANT`; a tenant (--key) has its own")
	waybill := cmd.Flags().String("waybill", "", "of this waybill `CODE`, under any brand")
	which := cmd.Flags().String("state", "", "in this `STATE`: pending, live, or failed")
	count := numberFlag(cmd)
	flags.runs(cmd, func(cmd *cobra.Command, c *client, _ []string, asJSON bool) error {
		q := url.Values{}
		if *waybill != "" {
			q.Set("waybill_code", *waybill)
		}
		if *which != "" {
			q.Set("state", *which)
		}
		switch {
		case *tenant == "" && !c.tenant && *waybill != "": // of all tenants
		case *tenant == "" && !c.tenant:
			return usagef("whose? --tenant TENANT")
		case *tenant != "" && c.tenant:
			return usagef("--tenant is the operator's: with a tenant's key (--key, or %s) its own are listed", apiKeyVariable)
		case !c.tenant:
			q.Set("tenant", *tenant)
		}

		all, err := pages(cmd.Context(), c, "/subscriptions", q, *count,
			func(p api.Subscriptions) ([]api.Subscription, string) { return p.Subscriptions, p.Next })
		if err != nil {
			return err
		}

		head := "WAYBILL BRAND STATE SINCE EXPIRES MESSAGE"
		if *waybill != "" && !c.tenant {
			head = "TENANT " + head
		}
		return writeList(cmd.OutOrStdout(), asJSON, all, head, func(x api.Subscription) []cell {
			row := []cell{
				text("%s", x.WaybillCode), text("%s", x.CPCode), state(x.State), text("%s", clock(x.Since, time.Now())),
				text("%s", clock(x.Expires, time.Now())), text("%s", describeAnswer(x)),
			}
			if *waybill != "" && !c.tenant {
				row = append([]cell{text("%s", x.Tenant)}, row...)
			}
			return row
		})
	})
}

// describeAnswer says what kuaidihelp answered, if it has not accepted the subscription, and when it is asked again.
func describeAnswer(x api.Subscription) string {
	if x.RetryAt.IsZero() {
		return x.Msg
	}
	return fmt.Sprintf("%s; asked again at %s", x.Msg, clock(x.RetryAt, time.Now()))
}

func newSubscriptionSummary() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "summary",
		Short: "Count subscriptions by state, and what is used of daily quotas",
		Long: "Counts the subscriptions of each tenant by state, and says what is used of its daily quota today, and how\n" +
			"it stands with kuaidihelp. A tenant (--key) sees its own.",
		Example: "  kuairelay subscriptions summary",
		Args:    takes(0, 0, ""),
	}

	flags := addAPIFlags(cmd)
	count := numberFlag(cmd)
	flags.runs(cmd, func(cmd *cobra.Command, c *client, _ []string, asJSON bool) error {
		var upstream *api.Upstream
		all, err := pages(cmd.Context(), c, "/subscriptions/summary", url.Values{}, *count,
			func(p api.SubscriptionSummary) ([]api.TenantSubscriptions, string) {
				upstream = p.Upstream
				return p.Tenants, p.Next
			})
		if err != nil {
			return err
		}
		if asJSON {
			return writeJSON(cmd.OutOrStdout(), api.SubscriptionSummary{Tenants: all, Upstream: upstream}, "  ")
		}

		if upstream != nil {
			newScreen(cmd.OutOrStdout()).row(text("kuaidihelp: %s", describeUpstream(*upstream)))
		}
		const head = "TENANT SUBSCRIBED LIVE PENDING FAILED QUOTA_TODAY"
		return writeList(cmd.OutOrStdout(), false, all, head, func(x api.TenantSubscriptions) []cell {
			atLeast := ""
			if x.AtLeast {
				atLeast = "at least "
			}
			tenant := x.Tenant
			if x.Removed {
				tenant += " (removed)"
			}
			quota := "-"
			if x.DailyQuota > 0 {
				quota = fmt.Sprintf("%d of %d", x.Today, x.DailyQuota)
			}
			return []cell{
				text("%s", tenant), text("%d", x.Subscribed), text("%s%d", atLeast, x.States[ledger.Live]),
				text("%s%d", atLeast, x.States[ledger.Pending]), text("%s%d", atLeast, x.States[ledger.Failed]),
				text("%s", quota),
			}
		})
	})
	return cmd
}

// describeUpstream says how it stands with kuaidihelp.
func describeUpstream(u api.Upstream) string {
	if !u.Configured {
		return "there is no account (kuaidihelp.api_key)"
	}
	refused := ""
	if u.CredentialsRefused {
		refused = "it refuses the account (kuaidihelp.app_id, .api_key); "
	}
	return fmt.Sprintf("%s%s at this replica, at most %g a second", refused,
		plural(u.Waiting, "call")+" waiting", u.Rate)
}

func newExport() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export -c FILE",
		Short: "Write all subscriptions to stdout, one line of JSON each",
		Long: "Writes all subscriptions to stdout, one line of JSON each, by tenant. The relay may run meanwhile.\n" +
			"Without redis.url the ledger is in the relay's own process: then the relay has to run, and is asked\n" +
			"for all subscriptions, on admin.listen with a token of the operator.",
		Example: "  kuairelay subscriptions export -c config.yaml > ledger.jsonl",
		Args:    takes(0, 0, ""),
	}

	file := cmd.Flags().StringP("config", "c", "", "the config `FILE`")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := ledgerConfig(*file)
		if err != nil {
			return err
		}

		out := bufio.NewWriter(cmd.OutOrStdout())
		n := 0
		write := func(x exported) error {
			n++
			return writeJSON(out, x, "")
		}

		export := exportRedis
		if c.Redis.URL == "" {
			export = exportRunning
		}
		if err := export(cmd.Context(), c, write); err != nil {
			return err
		}

		if err := out.Flush(); err != nil {
			return err
		}

		fmt.Fprintf(cmd.ErrOrStderr(), "%s exported\n", plural(n, "subscription"))
		return nil
	}
	return cmd
}

func newImport() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import -c FILE [LEDGER]",
		Short: "Put exported subscriptions back",
		Long: "Puts subscriptions that export has written back into the ledger, from LEDGER, or from stdin if it is\n" +
			"- or left out. Subscriptions that the ledger has already stay as they are, so an import may be\n" +
			"repeated. If a line is wrong, it is named and nothing is imported. A line whose waybill code is a\n" +
			"spreadsheet's number is named and skipped.",
		Example: "  kuairelay subscriptions import -c config.yaml ledger.jsonl",
		Args:    takes(0, 1, "LEDGER"),
	}

	file := cmd.Flags().StringP("config", "c", "", "the config `FILE`")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := ledgerConfig(*file)
		if err != nil {
			return err
		}
		if c.Redis.URL == "" {
			return fmt.Errorf("%s has no redis.url: an embedded store lives only in the relay's own process, "+
				"and takes no import", *file)
		}
		ledger, err := relay.OpenLedger(c)
		if err != nil {
			return err
		}
		defer ledger.Close()

		text, err := readInput(cmd, strings.Join(args, ""))
		if err != nil {
			return err
		}
		all, err := readLedger(bytes.NewReader(text), cmd.ErrOrStderr())
		if err != nil {
			return err
		}

		added, err := ledger.Import(cmd.Context(), all)
		if err != nil {
			return fmt.Errorf("not all of %s are in the ledger (%d new; import them again): %w",
				plural(len(all), "subscription"), added, err)
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "%s read, %d new in the ledger\n", plural(len(all), "subscription"), added)
		return nil
	}
	return cmd
}

// ledgerConfig loads the config of the relay whose ledger is meant.
func ledgerConfig(file string) (*config.Config, error) {
	if file == "" {
		return nil, usagef("it needs the relay's config: -c FILE")
	}
	return loadConfig(file)
}

// exportRedis calls write for every subscription in the Redis of a config.
func exportRedis(ctx context.Context, c *config.Config, write func(exported) error) error {
	source, err := relay.OpenLedger(c)
	if err != nil {
		return err
	}
	defer source.Close()

	return source.Export(ctx, func(s ledger.Subscription) error {
		return write(exported{
			Tenant: s.Tenant, CPCode: s.CPCode, WaybillCode: s.Code, Since: s.Since.UTC(), Expires: s.Expires.UTC(),
			State: s.State, Code: s.Answer.Code, Msg: s.Answer.Msg, UID: s.Answer.UID,
		})
	})
}

// exportRunning calls write for every subscription that the tenants of a config have at the relay that runs with it.
func exportRunning(ctx context.Context, c *config.Config, write func(exported) error) error {
	const where = "without redis.url the ledger is in the relay's own process"
	operators := slices.DeleteFunc(c.Operators(), func(k config.APIKey) bool {
		return !k.Until.IsZero() && !time.Now().Before(k.Until)
	})
	if len(operators) == 0 {
		return errors.New(where + ", which has no API without a token (admin.token)")
	}
	flags := apiFlags{url: listenURL(c.Admin.Listen)}
	client, err := flags.clientOf(operators[0].Key.Reveal(), false)
	if err != nil {
		return err
	}

	// The summary has the tenants that were removed from the config, too.
	tenants, err := pages(ctx, client, "/subscriptions/summary", url.Values{}, math.MaxInt,
		func(p api.SubscriptionSummary) ([]api.TenantSubscriptions, string) { return p.Tenants, p.Next })
	if err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	for _, t := range tenants {
		// One page is in memory at a time: a tenant may have a million subscriptions.
		for page, err := range eachPage(ctx, client, "/subscriptions", url.Values{"tenant": {t.Tenant}}, math.MaxInt,
			func(p api.Subscriptions) ([]api.Subscription, string) { return p.Subscriptions, p.Next }) {
			if err != nil {
				return fmt.Errorf("%s: %w", where, err)
			}
			for _, s := range page {
				if err := write(exported{
					Tenant: s.Tenant, CPCode: s.CPCode, WaybillCode: s.WaybillCode, Since: s.Since, Expires: s.Expires,
					State: s.State, Code: s.Code, Msg: s.Msg, UID: s.UID,
				}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// check returns what is wrong with a line, except for its waybill code.
func (x exported) check() error {
	switch {
	case x.Tenant == "" || x.CPCode == "" || x.WaybillCode == "",
		strings.ContainsAny(x.CPCode+x.WaybillCode+x.Tenant, " \n"):
		return errors.New("tenant, cp_code and waybill_code must be words")
	case x.State != ledger.Live && x.State != ledger.Pending && x.State != ledger.Failed:
		return errors.New("state must be live, pending or failed")
	case x.Expires.IsZero() || x.Since.IsZero():
		return errors.New("since and expires must be times")
	}
	return nil
}

// readLedger reads what export has written. A line whose waybill code cannot be one is skipped with a warning: an
// older relay may have taken it, and the others are to be imported all the same.
func readLedger(r io.Reader, warnings io.Writer) ([]ledger.Subscription, error) {
	var all []ledger.Subscription

	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}

		// An unknown key is a mistake: this line may come from elsewhere.
		var x exported
		d := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		d.DisallowUnknownFields()
		if err := d.Decode(&x); err != nil {
			return nil, fmt.Errorf("line %d: not a subscription as export writes it: %w", n, err)
		}

		if err := x.check(); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}

		if err := kuaidihelp.CheckCode(x.WaybillCode); err != nil {
			fmt.Fprintf(warnings, "line %d is passed over: waybill_code %v\n", n, err)
			continue
		}

		all = append(all, ledger.Subscription{
			Tenant:  x.Tenant,
			Waybill: event.Waybill{CPCode: kuaidihelp.Brand(x.CPCode), Code: x.WaybillCode},
			Since:   x.Since,
			Expires: x.Expires,
			State:   x.State,
			Answer:  ledger.Answer{Code: x.Code, Msg: x.Msg, UID: x.UID},
		})
	}
	return all, lines.Err()
}
