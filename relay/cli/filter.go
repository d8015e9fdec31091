package cli

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kuairelay/relay/api"
	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
)

// filterFlags are the flags of the commands that list or choose events.
type filterFlags struct{ values map[string]*string }

var filterHelp = [][2]string{
	{"tenant", "of this `TENANT`"},
	{"endpoint", "of this endpoint, `TENANT/NAME`; several with commas between them, here and at the next three"},
	{"brand", "of this `BRAND`, or an alias of it"},
	{"status", "with this `STATUS`"},
	{"state", "with a delivery in this `STATE`: open, delivered, dead, unrouted, …"},
	{"waybill", "of this waybill `CODE`"},
	{"since", "at this `TIME` or later: 2026-11-24T08:00:00Z, or a span before now like 90m or 2d"},
	{"until", "before this `TIME`"},
}

func addFilterFlags(cmd *cobra.Command, f *apiFlags) *filterFlags {
	x := &filterFlags{values: map[string]*string{}}
	for _, h := range filterHelp {
		x.values[h[0]] = cmd.Flags().String(h[0], "", h[1])
	}
	_ = cmd.RegisterFlagCompletionFunc("endpoint", completeEndpoints(f)) // it fails only if there is no such flag
	return x
}

// query returns the filter as the parameters of a request.
func (x *filterFlags) query() url.Values {
	q := url.Values{}
	for name, v := range x.values {
		if *v != "" {
			if name == "waybill" {
				name = "waybill_code"
			}
			q.Set(name, *v)
		}
	}
	return q
}

// warn warns of a status or brand that can hardly match anything. It is no mistake, because the sets of statuses and
// brands are open.
func (x *filterFlags) warn(w io.Writer) {
	known := slices.Concat(kuaidihelp.Statuses(), event.OwnTypes())
	for status := range strings.SplitSeq(*x.values["status"], ",") {
		if status != "" && !slices.Contains(known, kuaidihelp.Status(status)) {
			fmt.Fprintf(w, "warning: --status %s is none that kuaidihelp is known to send (%s)\n",
				printable(status), strings.Join(kuaidihelp.Statuses(), ", "))
		}
	}

	for brand := range strings.SplitSeq(*x.values["brand"], ",") {
		brand = strings.TrimSpace(brand)
		if brand != "" && !kuaidihelp.IsBrand(kuaidihelp.Brand(brand)) {
			fmt.Fprintf(w, "warning: --brand %s is none that kuaidihelp's page lists (%s)\n",
				printable(brand), strings.Join(kuaidihelp.Brands(), ", "))
		}
	}
}

// body returns the filter as JSON, with spans before now as times.
func (x *filterFlags) body() (map[string]any, error) {
	out := map[string]any{}
	for name, values := range x.query() {
		out[name] = values[0]
		if name == "since" || name == "until" {
			t, err := timeOrSpan("--"+name, values[0])
			if err != nil {
				return nil, err
			}
			out[name] = t.UTC().Format(time.RFC3339Nano)
		}
	}
	return out, nil
}

func timeOrSpan(flag, s string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}

	// ParseDuration knows no days.
	if days, ok := strings.CutSuffix(s, "d"); ok {
		s = days + "h"
		if d, err := time.ParseDuration(s); err == nil && d >= 0 {
			return time.Now().Add(-24 * d), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return time.Now().Add(-d), nil
	}

	return time.Time{}, usagef("%s must be a time like 2026-11-24T08:00:00Z, or a span before now like 90m or 2d", flag)
}

// completeEndpoints completes names of endpoints for the shell, if a relay answers within two seconds.
func completeEndpoints(f *apiFlags) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		c, err := f.client()
		if err != nil || (len(args) > 0 && !strings.Contains(cmd.Use, "...")) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}

		ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
		defer cancel()
		var page api.Endpoints
		if c.get(ctx, "/endpoints", url.Values{"limit": {"500"}}, &page) != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}

		var names []string
		for _, e := range page.Endpoints {
			names = append(names, e.Endpoint)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
