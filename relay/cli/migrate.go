package cli

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"kuairelay/relay"
	"kuairelay/relay/store/migrate"
)

// migrated is what `migrate -o json` prints.
type migrated struct {
	// OK says that relays of this version may start.
	OK            bool       `json:"ok"`
	Nothing       bool       `json:"nothing"`
	Events        int64      `json:"events"`
	Waybills      int64      `json:"waybills"`
	Subscriptions int64      `json:"subscriptions"`
	Others        int64      `json:"others"`
	Seconds       float64    `json:"seconds"`
	Unreadable    []leftover `json:"unreadable"`
	// Alive are the relays of the version before that still run, so that nothing was moved.
	Alive []string `json:"alive"`
}

// leftover is a key that stays as it is.
type leftover struct {
	Key string `json:"key"`
	Why string `json:"why"`
}

func newMigrate() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "migrate -c FILE",
		Short:   "Move what an older version has kept in Redis to this version's form",
		GroupID: groupRelay,
		Long: "Moves everything that the version before has kept in the Redis of redis.url to the form of this\n" +
			"version: events with their deliveries, the queues and lines, the ledger of subscriptions, and the\n" +
			"rest. Stop the relays of that version first. Those of this version may run already: they keep\n" +
			"callbacks in the spool until it is done, and go on by themselves then. It cannot be undone: see\n" +
			"docs/operations.md.\n\n" +
			"It moves a little at a time, may be ended at any point, and goes on when it is run again. If there\n" +
			"is nothing to move, it says so and exits with 0. It exits with 1 if relays of the version before are\n" +
			"alive, if Redis cannot be reached, or if something could not be read: that stays in Redis as it is,\n" +
			"and everything else is moved.",
		Example: "  kuairelay migrate -c /etc/kuairelay/config.yaml",
		Args:    takes(0, 0, ""),
	}

	output := outputFlag(cmd)
	file := cmd.Flags().StringP("config", "c", "", "the config `FILE`")
	force := cmd.Flags().Bool("force", false, "begin although relays of the version before are alive")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *file == "" {
			return usagef("migrate needs the config that serve has: -c FILE")
		}
		c, err := loadConfig(*file)
		if err != nil {
			return err
		}

		stderr := cmd.ErrOrStderr()
		began, shown, said := time.Now(), time.Time{}, ""
		p := newProgress(stderr)
		result, err := relay.Migrate(cmd.Context(), c, migrate.Options{
			Force: *force,
			OnProgress: func(r migrate.Result) {
				if time.Since(shown) > 100*time.Millisecond {
					p.show("%s", countMoved(r))
					shown = time.Now()
				}
			},
			OnTrouble: func(err error) {
				if err.Error() != said {
					p.end()
					said = err.Error()
					fmt.Fprintf(stderr, "kuairelay: waiting for redis: %s\n", said)
				}
			},
		})
		p.end()

		out := migrated{
			OK: err == nil, Nothing: result.Nothing, Events: result.Events, Waybills: result.Records,
			Subscriptions: result.Entries, Others: result.Others, Seconds: time.Since(began).Seconds(),
			Unreadable: []leftover{}, Alive: []string{},
		}
		for _, u := range result.Unreadable {
			out.Unreadable = append(out.Unreadable, leftover(u))
		}
		var alive *migrate.AliveError
		if errors.As(err, &alive) {
			out.Alive = alive.Relays
			err = fmt.Errorf("%w: stop them, and run this again (--force moves what is there now, and a later run the rest)",
				alive)
		} else if err != nil && cmd.Context().Err() != nil {
			err = fmt.Errorf("ended before its time: %s; run it again for the rest", countMoved(result))
		}
		if output.isJSON() {
			if broken := writeJSON(cmd.OutOrStdout(), out, "  "); broken != nil {
				return broken
			}
		} else if err == nil {
			printMigrated(cmd.OutOrStdout(), result, time.Since(began))
		}
		for _, u := range result.Unreadable {
			fmt.Fprintf(stderr, "%q cannot be read, and stays as it is: %s\n", u.Key, u.Why)
		}
		if err == nil && len(result.Unreadable) > 0 {
			err = errSaid
		}
		return err
	}
	return cmd
}

// countMoved names what was moved, by kind.
func countMoved(r migrate.Result) string {
	return fmt.Sprintf("%s, %s, %s and %s moved", plural(int(r.Events), "event"), plural(int(r.Records), "waybill"),
		plural(int(r.Entries), "subscribed waybill"), plural(int(r.Others), "other key"))
}

func printMigrated(w io.Writer, r migrate.Result, took time.Duration) {
	if r.Nothing {
		fmt.Fprintln(w, "nothing to move: no older version has kept anything here")
		return
	}
	fmt.Fprintf(w, "%s in %s\n", countMoved(r), took.Round(time.Millisecond))
	fmt.Fprintln(w, "relays of this version go on by themselves")
}
