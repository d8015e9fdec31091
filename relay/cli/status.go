package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kuairelay/relay/api"
)

func newStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Show the state and the problems of a running relay",
		GroupID: groupAPI,
		Long: "Shows the state of a running relay and its problems, also while Redis does not answer: of each since\n" +
			"when, why, and what to do (✗ wakes somebody, ! can wait for the morning). Lists the endpoints that are\n" +
			"parked or failing, or have dead letters, the worst first. Exits with 1 if the relay cannot accept\n" +
			"callbacks durably, or does not answer.",
		Example: "  kuairelay status\n  kuairelay status --key $SHOP_API_KEY    # as a tenant sees it",
		Args:    takes(0, 0, ""),
	}
	addAPIFlags(cmd).runs(cmd, func(cmd *cobra.Command, c *client, _ []string, asJSON bool) error {
		var s api.Status
		err := c.get(cmd.Context(), "/status", nil, &s)
		if err != nil {
			return err
		}

		if asJSON {
			err = writeJSON(cmd.OutOrStdout(), s, "  ")
		} else {
			printStatus(cmd.OutOrStdout(), s)
		}

		if err == nil && !s.Ready {
			err = errSaid
		}
		return err
	})
	return cmd
}

func printStatus(w io.Writer, s api.Status) {
	out := newScreen(w)
	line := func(name, format string, args ...any) { out.row(label(name, 10), text(format, args...)) }

	// First the relay itself, and what is wrong with it.
	ready := "ready"
	switch {
	case !s.Ready:
		ready = "NOT READY: callbacks cannot be accepted durably"
	case s.Status == api.Degraded:
		ready = "DEGRADED: callbacks are accepted durably, but something is wrong"
	}

	line("relay", "%s, version %s, up for %s", ready, s.Version, span(time.Duration(s.UptimeS)*time.Second))
	printProblems(out, s)

	if s.Spooled > 0 {
		line("spool", "%s for redis, the oldest for %s", waits(s.Spooled), age(s.SpooledAt, s.Time))
	}

	printQueues(line, s)

	switch {
	case s.Silent && s.LastCallAt.IsZero():
		line("callbacks", "NONE came yet: is the URL for callbacks registered at kuaidihelp, and does it lead here?")
	case s.Silent:
		line("callbacks", "NONE for %s, longer than callback.silence: does kuaidihelp still push, and get here?",
			age(s.LastCallAt, s.Time))
	case !s.LastCallAt.IsZero():
		line("callbacks", "the latest %s ago", age(s.LastCallAt, s.Time))
	}

	if s.Quarantined > 0 {
		line("quarantine", "%d not understood (kuairelay quarantine)", s.Quarantined)
	}
	if s.Replays > 0 {
		line("replays", "%d running (kuairelay replay list)", s.Replays)
	}

	// Endpoints that need attention are a table of their own.
	if len(s.Attention) > 0 {
		fmt.Fprintln(w)
		printEndpoints(w, s.Attention, s.Time)
	}
}

// printProblems shows each problem: what it is and since when, why, and what to do about it.
func printProblems(out *screen, s api.Status) {
	if len(s.ProblemList) == 0 { // an older relay has only sentences
		for _, problem := range s.Problems {
			out.row(cell{text: "problem", width: 10, mark: bad}, text("%s", printable(problem)))
		}
	}
	for _, p := range s.ProblemList {
		name, sign := "problem", cell{text: "✗", mark: bad}
		switch p.Severity {
		case api.Warning:
			sign = cell{text: "!", mark: bad}
		case api.Notice:
			name, sign = "note", cell{text: "·"}
		}
		since := ""
		if !p.Since.IsZero() {
			since = fmt.Sprintf(" (since %s, for %s)", p.Since.UTC().Format(time.RFC3339), age(p.Since, s.Time))
		}

		head := cell{text: name, width: 10, mark: sign.mark}
		out.row(head, sign, text("%s [%s]", printable(p.Subject+": "+p.What)+since, p.Code))
		for why := range strings.Lines(p.Why) {
			out.row(label("", 10), label("", 1), label("why", 3), text("%s", printable(strings.TrimSuffix(why, "\n"))))
		}
		out.row(label("", 10), label("", 1), label("do", 3), text("%s", printable(p.Do)))
	}
}

// waits says that callbacks do.
func waits(n int) string {
	if n == 1 {
		return "1 callback waits"
	}
	return fmt.Sprintf("%d callbacks wait", n)
}

// printQueues shows what Redis knows of endpoints and events.
func printQueues(line func(name, format string, args ...any), s api.Status) {
	if s.Partial {
		line("endpoints", "%d: what they hold is not known while redis does not answer", s.Endpoints)
		return
	}

	var states []string
	for _, name := range sortedKeys(s.States) {
		states = append(states, fmt.Sprintf("%d %s", s.States[name], name))
	}
	endpoints := strconv.Itoa(s.Endpoints)
	if len(states) > 0 {
		endpoints += ": " + strings.Join(states, ", ")
	}
	line("endpoints", "%s", endpoints)

	oldest := ""
	if s.Open > 0 {
		oldest = fmt.Sprintf("; the oldest for %s or longer", age(s.OldestAt, s.Time))
	}

	line("open", "%d deliveries, and %d behind them%s", s.Open, s.Waiting, oldest)
	line("dead", "%s", plural(int(s.Dead), "dead letter"))
	if r := s.Removed; r != nil {
		line("removed", "%d deliveries, %d behind them and %s, at %s in no config (kuairelay endpoints)", r.Open,
			r.Waiting, plural(int(r.Dead), "dead letter"), plural(r.Endpoints, "endpoint"))
	}

	last := "none"
	if !s.LastEventAt.IsZero() {
		last = age(s.LastEventAt, s.Time) + " ago"
	}
	line("last event", "%s", last)
}
