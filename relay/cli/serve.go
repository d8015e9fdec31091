package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"kuairelay/relay"
	"kuairelay/relay/config"
)

func newServe() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "serve -c FILE",
		Short:   "Run the relay",
		GroupID: groupRelay,
		Long: "Runs the relay until SIGINT or SIGTERM. Then it takes no more callbacks, and finishes the attempts\n" +
			"under way or hands them back, within --grace. A second signal ends it at once. Logs go to stderr.\n\n" +
			"The config is read again when one of its files was changed, on SIGHUP, and on POST /-/reload of the\n" +
			"private listener. A config with mistakes is not used: its mistakes are logged with file and line,\n" +
			"and the previous config stays in use.",
		Example: "  kuairelay serve -c config.example.yaml",
		Args:    takes(0, 0, ""),
	}

	file := cmd.Flags().StringP("config", "c", "", "the config `FILE`")
	grace := cmd.Flags().Duration("grace", 20*time.Second, "how long a shutdown takes at most")
	level := logLevelFlag(cmd, "info", "the lowest level that is logged")
	format := &enum{words: []string{"console", "json"}}
	cmd.Flags().Var(format, "log-format", "default: console if stderr is a terminal, otherwise json")

	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case *file == "":
			return usagef("serve needs its config: -c FILE (config.example.yaml works as it is)")
		case *grace < 0:
			return usagef("--grace must not be negative")
		}

		hangups := make(chan os.Signal, 1)
		signal.Notify(hangups, syscall.SIGHUP) // from now on, or one that comes early would end the program
		defer signal.Stop(hangups)

		stderr := cmd.ErrOrStderr()
		if format.value == "" {
			format.value = "json"
			if isTerminal(stderr) {
				format.value = "console"
			}
		}

		load := func(onRead func(string)) (*config.Config, error) {
			return relay.Load(*file, onRead)
		}

		// The relay watches the files that were read.
		var read []string
		c, err := load(func(path string) { read = append(read, path) })
		if err != nil {
			return err
		}

		pace(c)
		log := newLogger(stderr, format.value, level.value)
		defer func() { _ = log.Sync() }()
		limitMemory(log)

		options := relay.Options{
			Config: c, Read: read, Load: load, Logger: log, Version: currentVersion().Version, Grace: max(*grace, 1),
			AfterRead: debug.FreeOSMemory,
		}
		if format.value == "console" {
			options.OnListen = func(public, admin net.Addr) { greet(stderr, *file, c, public, admin) }
		}

		r, err := relay.New(options)
		if err != nil {
			return fmt.Errorf("%s: %w", *file, err)
		}

		// A signal reloads the config as long as the relay runs.
		ctx, cancel := context.WithCancel(cmd.Context())
		defer cancel()
		go reloadOn(ctx, hangups, r)
		return r.Run(ctx)
	}
	return cmd
}

// pace sets how far the heap grows between two garbage collections, unless GOGC does. Most of the heap is
// short-lived, so it may grow fourfold, which saves CPU time. With very many routes most of it is routes, which stay.
func pace(c *config.Config) {
	if os.Getenv("GOGC") != "" {
		return
	}
	if _, _, routes := sizeOf(c); routes > 10_000 {
		debug.SetGCPercent(50)
	} else {
		debug.SetGCPercent(300)
	}
}

// reloadOn reloads the config at each signal, until ctx is cancelled.
func reloadOn(ctx context.Context, signals <-chan os.Signal, r *relay.Relay) {
	for {
		select {
		case s := <-signals:
			_, _ = r.Reload("signal: " + s.String()) // it logs what is wrong
		case <-ctx.Done():
			return
		}
	}
}

func loadConfig(file string) (*config.Config, error) {
	return relay.Load(file, nil)
}

// greet tells people where to reach the relay.
func greet(w io.Writer, file string, c *config.Config, public, admin net.Addr) {
	fmt.Fprintf(w, "kuairelay serves %s: %s\n"+
		"  callbacks  %s/callback/<token>\n"+
		"  admin      %s/metrics\n"+
		"Ctrl-C stops it.\n",
		file, countConfig(c), baseURL(public), baseURL(admin))
}

// baseURL returns the URL of a listener, as it is reached from this machine.
func baseURL(a net.Addr) string { return listenURL(a.String()) }

// listenURL is baseURL for an address as the config has it.
func listenURL(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(cmp.Or(host, "127.0.0.1"), port)
}

// countConfig returns a text like "1 tenant, 2 endpoints, 3 routes".
func countConfig(c *config.Config) string {
	tenants, endpoints, routes := sizeOf(c)
	return plural(tenants, "tenant") + ", " + plural(endpoints, "endpoint") + ", " + plural(routes, "route")
}

func sizeOf(c *config.Config) (tenants, endpoints, routes int) {
	for _, t := range c.Tenants {
		endpoints += len(t.Endpoints)
		routes += len(t.Routes)
	}
	return len(c.Tenants), endpoints, routes
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
