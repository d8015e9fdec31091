package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kuairelay/relay/api"
)

func newSystem() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "system",
		Short:   "Show the replicas of a running relay, its Redis and its spool",
		GroupID: groupAPI,
		Long: "Lists the replicas that are alive, with their versions, configs, callbacks a second and spools. Shows how\n" +
			"Redis is set up and how it does, what puts accepted events at risk, and how it goes with kuaidihelp.",
		Example: "  kuairelay system\n  kuairelay system -o json",
		Args:    takes(0, 0, ""),
	}
	addAPIFlags(cmd).runs(cmd, func(cmd *cobra.Command, c *client, _ []string, asJSON bool) error {
		var s api.System
		err := c.get(cmd.Context(), "/system", nil, &s)
		switch {
		case err != nil:
			return err
		case asJSON:
			return writeJSON(cmd.OutOrStdout(), s, "  ")
		}
		printSystem(cmd.OutOrStdout(), s, time.Now())
		return nil
	})
	return cmd
}

func printSystem(w io.Writer, s api.System, now time.Time) {
	out := newScreen(w)
	line := func(name, format string, args ...any) { out.row(label(name, 10), text(format, args...)) }

	line("redis", "%s", describeRedis(s.Redis, now))
	if s.Redis.State != "embedded" && s.Redis.Version != "" {
		line("", "version %s, %s, %s, persistence %s, %s of its own", s.Redis.Version, memoryOf(s.Redis), s.Redis.Policy,
			s.Redis.Persists, plural(s.Redis.Replicas, "replica"))
	}
	for _, a := range s.Advice {
		out.row(cell{text: "advice", width: 10, mark: bad}, text("%s: %s", printable(a.Name), printable(a.Why)))
	}
	if s.Partial {
		line("", "what only redis knows is missing")
	} else {
		line("events", "about %d are kept", s.Memory.Events)
	}
	line("spool", "%s, with room for %s more", printable(s.Spool.State), bytesText(s.Spool.RoomBytes))
	line("kuaidihelp", "%s", describeKuaidihelp(s.Kuaidihelp, now))

	fmt.Fprintln(w)
	var rows [][]cell
	for _, r := range s.Replicas {
		id := r.ID
		if r.Self {
			id += " (answers)"
		}
		rows = append(rows, []cell{
			text("%s", id), text("%s", r.Version), text("%s", r.Status), text("%s", r.Config.Fingerprint),
			text("%s", age(r.StartedAt, now)), text("%.1f/s", r.Callbacks), text("%d", r.Spool.Files),
			text("%s", bytesText(r.Spool.Bytes)), text("%s", age(r.Spool.OldestAt, now)), text("%d", r.Held),
			text("%s", age(r.SeenAt, now)),
		})
	}
	out.table("REPLICA VERSION STATUS CONFIG UP CALLBACKS SPOOL BYTES OLDEST HELD SEEN", rows)
}

// describeRedis says how Redis does.
func describeRedis(r api.RedisSystem, now time.Time) string {
	text := r.State
	if r.Why != "" {
		text += fmt.Sprintf(" for %s: %s", age(r.Since, now), printable(r.Why))
	} else if r.LatencyMS > 0 {
		text += fmt.Sprintf(", answers in %.1f ms", r.LatencyMS)
	}
	return text
}

// memoryOf says how much of its memory Redis takes.
func memoryOf(r api.RedisSystem) string {
	if r.MaxMemory == 0 {
		return bytesText(r.Memory) + " without a bound"
	}
	return bytesText(r.Memory) + " of " + bytesText(r.MaxMemory)
}

// describeKuaidihelp says how it goes with the provider.
func describeKuaidihelp(k api.KuaidihelpSystem, now time.Time) string {
	parts := []string{"no callback came yet"}
	if !k.LastCallbackAt.IsZero() {
		parts[0] = fmt.Sprintf("the latest callback %s ago", age(k.LastCallbackAt, now))
		if k.LastReplica != "" {
			parts[0] += " at " + printable(k.LastReplica)
		}
	}
	if k.Silent {
		parts = append(parts, "SILENT for longer than "+span(time.Duration(k.SilenceS)*time.Second))
	}
	return strings.Join(append(parts, "credentials "+k.Credentials), ", ")
}

// bytesText is a number of bytes for people.
func bytesText(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	amount := float64(n)
	at := 0
	for amount >= 1024 && at < len(units)-1 {
		amount /= 1024
		at++
	}
	if at == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", amount, units[at])
}
