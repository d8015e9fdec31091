package cli

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kuairelay/relay/api"
	"kuairelay/relay/event"
)

// endpointPage is all that is known of an endpoint.
type endpointPage struct {
	Endpoint api.EndpointHealth    `json:"endpoint"`
	Attempts []api.EndpointAttempt `json:"attempts"`
	Log      []api.LogEntry        `json:"log"`
}

func newEndpoint() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "endpoint TENANT/ENDPOINT",
		Short:   "Show one endpoint: state and why, settings, latest attempts, and its log",
		GroupID: groupAPI,
		Long: "Shows everything about one endpoint: its state, since when and why; what it holds; its settings; its\n" +
			"latest attempts; and its log: when its breaker opened, who paused it, what the config changed.",
		Example: "  kuairelay endpoint shop/orders\n  kuairelay endpoint shop/orders --failed -n 50",
		Args:    takes(1, 1, "TENANT/ENDPOINT"),
	}

	flags := addAPIFlags(cmd)
	cmd.ValidArgsFunction = completeEndpoints(flags)
	count := cmd.Flags().IntP("number", "n", 10, "how many attempts to show")
	failed := cmd.Flags().Bool("failed", false, "of the attempts, show only those that failed")
	flags.runs(cmd, func(cmd *cobra.Command, c *client, args []string, asJSON bool) error {
		path, err := c.endpointPath(args[0])
		if err != nil {
			return err
		}
		page, err := c.endpointPage(cmd.Context(), path, *count, *failed)
		if err != nil {
			return err
		}
		if asJSON {
			return writeJSON(cmd.OutOrStdout(), page, "  ")
		}
		printEndpoint(cmd.OutOrStdout(), page, time.Now())
		return nil
	})
	return cmd
}

// endpointPage gets what is known of the endpoint that a path names.
func (c *client) endpointPage(ctx context.Context, path string, most int, failed bool) (page endpointPage, err error) {
	q := url.Values{}
	if failed {
		q.Set("failed", "true")
	}
	page.Attempts, err = pages(ctx, c, path+"/attempts", q, most,
		func(p api.EndpointAttempts) ([]api.EndpointAttempt, string) { return p.Attempts, p.Next })
	if err != nil {
		return page, err
	}

	var log api.EndpointLog
	if err := c.get(ctx, path+"/log", nil, &log); err != nil {
		return page, err
	}
	page.Log = log.Entries
	err = c.get(ctx, path, nil, &page.Endpoint)
	return page, err
}

func printEndpoint(w io.Writer, page endpointPage, now time.Time) {
	e := page.Endpoint
	out := newScreen(w)
	line := func(name, format string, args ...any) { out.row(label(name, 10), text(format, args...)) }

	head := []cell{column(printable(e.Endpoint), 0), state(e.State)}
	if !e.Since.IsZero() {
		head = append(head, text("%s", sinceWhen(e, now)))
	}
	out.row(head...)
	if e.State == api.EndpointRemoved {
		line("removed", "it is in no config: its open deliveries become dead letters after delivery.orphan_grace, unless it "+
			"is put back")
	} else {
		line("url", "%s", e.URL)
	}
	if e.InRow > 0 {
		line("failing", "%s in a row, since %s (%s ago)", plural(e.InRow, "attempt"), clock(e.FailingSince, now),
			age(e.FailingSince, now))
	}
	if e.LastError != nil {
		line("last error", "%s ago: %s", age(e.LastError.At, now), cut(describeAttempt(*e.LastError), maxLastCell))
	}
	if !e.Twice.IsZero() {
		line("twice", "it answers requests twice: each attempt has a connection of its own until it is resumed")
	}
	line("holds", "%d open, %d behind them, %s%s", e.Open, e.Waiting, plural(int(e.Dead), "dead letter"), oldest(e, now))
	if e.Sample > 0 {
		line("latest", "of %s %.0f%% delivered; p50 %d ms, p95 %d ms; last delivered %s", plural(e.Sample, "attempt"),
			100*e.SuccessRate, e.P50MS, e.P95MS, clock(e.DeliveredAt, now))
	}
	if e.Settings != nil {
		printSettings(line, *e.Settings, now)
	}

	if len(page.Attempts) > 0 {
		fmt.Fprintln(w)
		var rows [][]cell
		for _, a := range page.Attempts {
			rows = append(rows, attemptRow(a, now))
		}
		out.table("ENDED OUTCOME NUMBER REASON TOOK EVENT ANSWER", rows)
	}
	if len(page.Log) > 0 {
		fmt.Fprintln(w)
		var rows [][]cell
		for _, entry := range page.Log {
			rows = append(rows, []cell{text("%s", clock(entry.At, now)), text("%s", describeEntry(entry))})
		}
		out.table("WHEN LOG", rows)
	}
}

// sinceWhen says since when a parked endpoint is, and by whom, or until when.
func sinceWhen(e api.EndpointHealth, now time.Time) string {
	said := fmt.Sprintf("since %s (%s ago)", clock(e.Since, now), age(e.Since, now))
	if e.PausedBy != "" {
		said += " by " + e.PausedBy
	}
	if !e.ProbeAt.IsZero() {
		said += "; the next attempt may begin at " + clock(e.ProbeAt, now)
	}
	return said
}

// oldest says how old the oldest open delivery of an endpoint is, and when it is given up.
func oldest(e api.EndpointHealth, now time.Time) string {
	if e.OldestAt.IsZero() {
		return ""
	}
	said := "; the oldest for " + atLeast(e, now)
	if !e.GivenUpFirstAt.IsZero() {
		said += ", given up at " + clock(e.GivenUpFirstAt, now)
	}
	return said
}

// printSettings shows the settings of an endpoint.
func printSettings(line func(name, format string, args ...any), s api.EndpointSettings, now time.Time) {
	line("settings", "timeout %s, %s, format %s, order %s, from %s", s.Timeout, plural(s.AttemptsMax, "attempt"), s.Format,
		s.Order, s.At)
	line("", "retry %s; max_age %s", strings.Join(s.Retry, " "), s.MaxAge)
	rate := "no rate"
	if s.Rate > 0 {
		rate = fmt.Sprintf("rate %g a second", s.Rate)
	}
	line("", "max_in_flight %d, %s, max_backlog %d", s.MaxInFlight, rate, s.MaxBacklog)

	breaker := "never opens"
	if b := s.Breaker; b.Failures > 0 {
		breaker = fmt.Sprintf("opens after %d failures in a row, or as many that are %g%% of %s; cools off for %s to %s",
			b.Failures, 100*b.Ratio, b.Window, b.CoolOff, b.MaxCoolOff)
	}
	line("", "breaker %s", breaker)

	secrets := plural(len(s.Secrets), "secret")
	for _, secret := range s.Secrets {
		if !secret.Until.IsZero() {
			secrets += ", one until " + clock(secret.Until, now)
		}
	}
	if len(s.Headers) > 0 {
		secrets += "; headers " + strings.Join(s.Headers, ", ")
	}
	if !s.CertificateUntil.IsZero() {
		secrets += "; TLS client certificate until " + s.CertificateUntil.Local().Format(time.DateOnly)
	}
	line("", "%s", secrets)
}

func attemptRow(a api.EndpointAttempt, now time.Time) []cell {
	number := ""
	if a.Number > 0 {
		number = fmt.Sprint(a.Number)
	}
	return []cell{
		text("%s", clock(a.At, now)), state(a.Outcome), text("%s", number), text("%s", a.Reason),
		text("%d ms", a.DurationMS), text("%s", a.EventID), text("%s", describeAttempt(a.Attempt)),
	}
}

// describeEntry returns an entry of the log of an endpoint on one line.
func describeEntry(e api.LogEntry) string {
	said := strings.ReplaceAll(string(e.What), "_", " ")
	last := ""
	if e.Status != 0 || e.Text != "" {
		last = describeAttempt(api.Attempt{Status: e.Status, Text: e.Text})
	}

	switch e.What {
	case event.LogOpened:
		said = describeOpened(e, last)
	case event.LogClosed:
		said = "breaker closed"
		if e.N > 0 {
			said += fmt.Sprintf(" after %s that failed", plural(e.N, "probe"))
		}
	case event.LogGone:
		said = "gone: it answered " + last
	case event.LogRedriven, event.LogDismissed:
		said += " " + plural(e.N, "dead letter")
	case event.LogResent, event.LogRetried:
		said += " " + plural(e.N, "event")
	case event.LogReplayBegun, event.LogReplayEnded:
		said += " " + e.Replay
		if e.What == event.LogReplayEnded {
			said += ": " + plural(e.N, "event") + " queued"
		}
	case event.LogAdded:
		said += " to the config"
	case event.LogRemoved:
		said += " from the config"
	case event.LogChanged:
		said = "config changed " + describeChanges(e.Changes)
	}
	if e.By != "" {
		said += " by " + describeActor(e)
	}
	return said
}

// describeOpened says why a breaker opened. last is the last attempt before that.
func describeOpened(e api.LogEntry, last string) string {
	said := "breaker opened"
	switch {
	case e.Of > 0:
		said += fmt.Sprintf(": %d of %s failed", e.N, plural(e.Of, "attempt"))
	case e.N > 0:
		said += fmt.Sprintf(": %s failed in a row", plural(e.N, "attempt"))
	default:
		said += " again"
	}
	if last != "" {
		said += ", the last: " + last
	}
	return said
}

// describeChanges lists what a config has changed of an endpoint.
func describeChanges(changes []api.SettingChange) string {
	var all []string
	for _, c := range changes {
		said := c.Key
		if c.Old != "" || c.New != "" {
			said += fmt.Sprintf(" %s → %s", c.Old, c.New)
		}
		all = append(all, said)
	}
	return strings.Join(all, ", ")
}

// describeActor says who did what an entry tells.
func describeActor(e api.LogEntry) string {
	var more []string
	if e.Key != "" {
		more = append(more, "key "+e.Key)
	}
	if e.From != "" {
		more = append(more, e.From)
	}
	if len(more) == 0 {
		return e.By
	}
	return e.By + " (" + strings.Join(more, ", ") + ")"
}
