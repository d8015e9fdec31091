package cli

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kuairelay/relay/api"
)

func newAudit() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "audit",
		Short:   "List who did what through the API, the latest first",
		GroupID: groupAPI,
		Long: "Lists what people and programs did through the API, the latest first: who, from where, what, and what came\n" +
			"of it. A tenant (--key) sees what it did, and what the operator did to its things.",
		Example: "  kuairelay audit --since 1d\n  kuairelay audit --tenant shop --what pause",
		Args:    takes(0, 0, ""),
	}

	flags := addAPIFlags(cmd)
	values := map[string]*string{}
	for name, help := range map[string]string{
		"tenant": "by this `TENANT`, or to its things",
		"what":   "this `ACT` only: " + strings.Join(api.ActNames(), ", "),
		"since":  "at this `TIME` or later: 2026-11-24T08:00:00Z, or a span before now like 90m or 2d",
		"until":  "before this `TIME`",
	} {
		values[name] = cmd.Flags().String(name, "", help)
	}
	count := numberFlag(cmd)
	flags.runs(cmd, func(cmd *cobra.Command, c *client, _ []string, asJSON bool) error {
		q := url.Values{}
		for name, v := range values {
			if *v != "" {
				q.Set(name, *v)
			}
		}
		all, err := pages(cmd.Context(), c, "/audit", q, *count,
			func(p api.Audit) ([]api.AuditEntry, string) { return p.Acts, p.Next })
		if err != nil {
			return err
		}
		return writeList(cmd.OutOrStdout(), asJSON, all, "WHEN WHO FROM WHAT SUBJECT COUNT TIMES RESULT", auditRow)
	})
	return cmd
}

func auditRow(a api.AuditEntry) []cell {
	who := a.By.Name
	if a.By.Key != "" {
		who += " (" + a.By.Key + ")"
	}

	subject := a.Subject
	if subject == "" {
		subject = a.Tenant // several of its things
	}
	times := ""
	if a.Times > 1 {
		times = strconv.Itoa(a.Times)
	}
	return []cell{
		text("%s", clock(a.At, time.Now())), text("%s", who), text("%s", a.By.From), text("%s", a.What), text("%s", subject),
		text("%d", a.Count), text("%s", times), text("%s", a.Result),
	}
}
