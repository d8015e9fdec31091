// Package cli is the command line. It turns arguments into the options of the packages below, and their results into
// text for people, JSON for programs, and an exit code. A command is in the file of its name, or in that of a command
// that it goes with. Run is the entry; Commands is for documentation.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"kuairelay/relay/config"
)

// The exit codes.
const (
	exitOK    = 0
	exitFail  = 1 // it failed
	exitUsage = 2 // wrong usage
)

// errSaid makes a command fail with exitFail after it has printed all there is to say.
var errSaid = errors.New("already said")

// usageError is a mistake in the arguments that only the command itself could find.
type usageError string

func (e usageError) Error() string { return string(e) }

func usagef(format string, args ...any) error { return usageError(fmt.Sprintf(format, args...)) }

// Run runs the command that args (without the program's name) ask for, and returns the exit code. A command that
// serves ends gracefully when ctx is cancelled. Concurrent calls share nothing.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	started := false // until then, every error is one of usage
	root := newRoot()
	root.PersistentPreRun = func(*cobra.Command, []string) { started = true }
	root.SetArgs(append([]string{}, args...)) // not nil, which would mean os.Args
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	addCompletion(root)
	cmd, err := root.ExecuteContextC(ctx)

	// Wrong usage exits with 2 and shows the usage line; anything else that fails exits with 1.
	var mistakes config.Mistakes
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errSaid):
	case !started || errors.As(err, &usage):
		fmt.Fprintf(stderr, "kuairelay: %s\n", strings.TrimSpace(err.Error()))
		fmt.Fprintf(stderr, "usage: %s\nRun '%s --help' for more.\n", cmd.UseLine(), cmd.CommandPath())
		return exitUsage
	case errors.As(err, &mistakes): // file:line: stands first, where editors look for it
		fmt.Fprintln(stderr, mistakes)
	default:
		fmt.Fprintf(stderr, "kuairelay: %v\n", err)
	}
	return exitFail
}

// Commands returns the commands as a tree, for pages that describe them. Run is what runs one.
func Commands() *cobra.Command {
	root := newRoot()
	addCompletion(root)
	return root
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "kuairelay COMMAND",
		Short: "Relays the callbacks of one kuaidihelp account to many tenants, signed",
		Long: "kuairelay receives the callbacks of one shared kuaidihelp account and drops duplicates. Routing\n" +
			"rules say which tenants get an update; the relay posts it to each of them as a signed webhook, until\n" +
			"they have it.\n\n" +
			"New here? `kuairelay demo` shows all of it in one process.",
		DisableFlagsInUseLine: true,
		SilenceErrors:         true,
		SilenceUsage:          true,
	}

	root.AddGroup(
		&cobra.Group{ID: groupRelay, Title: "The relay:"},
		&cobra.Group{ID: groupAPI, Title: "To ask a running relay:"},
		&cobra.Group{ID: groupTools, Title: "To develop and test against it:"},
	)
	root.AddCommand(newServe(), newCheck(), newMigrate(), newExplain(), newDiff(), newSchema(), newHealthcheck(),
		newVersion())
	root.AddCommand(newDemo(), newSend(), newFake(), newListen(), newSubscribe(), newKeygen(), newSign(), newVerify())
	root.AddCommand(newStatus(), newFind(), newWaybill(), newEvent(), newEvents(), newTail())
	root.AddCommand(newEndpoints(), newPause(), newResume(), newTest(), newRetry())
	root.AddCommand(newEndpoint(), newStats(), newAudit(), newNotices())
	root.AddCommand(newDeadLetters(), newReplay(), newQuarantine(), newSubscriptions(), newConfig(), newReload(),
		newSystem())

	root.SetHelpCommand(newHelp())
	return root
}

// The groups of the list of commands.
const (
	groupRelay = "relay"
	groupTools = "tools"
	groupAPI   = "api"
)

// newHelp is cobra's own help command, except that an unknown topic is an error.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:                   "help [COMMAND]",
		Short:                 "Help about any command",
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			topic, rest, err := cmd.Root().Find(args)
			if err != nil || topic == nil || len(rest) > 0 {
				return usagef("there is no command %q", strings.Join(args, " "))
			}
			topic.InitDefaultHelpFlag()
			return topic.Help()
		},
	}
}

// addCompletion adds cobra's own completion command, except that an unknown shell is an error.
func addCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Short = "Generate the completion script for a shell"
			onlyGroups(c)
		}
	}
}

// onlyGroups makes a command that does nothing but group others show its help, and refuse a name that it has not: cobra
// would show the help, too, and exit with 0.
func onlyGroups(cmd *cobra.Command) {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		var names []string
		for _, c := range cmd.Commands() {
			names = append(names, c.Name())
		}
		return fmt.Errorf("%s has no command %q; it has %s", cmd.CommandPath(), args[0], strings.Join(names, ", "))
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.Use += " COMMAND"
	cmd.DisableFlagsInUseLine = true
}

// takes checks the number of arguments; name is what the usage line calls them.
func takes(least, most int, name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return fmt.Errorf("%s needs %s", cmd.Name(), name)
		case len(args) > most:
			return fmt.Errorf("%s does not take the argument %q", cmd.Name(), args[most])
		}
		return nil
	}
}

// enum is a flag whose value is one of some words.
type enum struct {
	value string
	words []string
}

func (e *enum) String() string { return e.value }

// Type returns what help calls the value.
func (e *enum) Type() string { return strings.Join(e.words, "|") }

// Set takes one of the words.
func (e *enum) Set(s string) error {
	for _, w := range e.words {
		if s == w {
			e.value = s
			return nil
		}
	}
	last := len(e.words) - 1
	return fmt.Errorf("must be %s or %s", strings.Join(e.words[:last], ", "), e.words[last])
}

// outputFlag adds -o. Its isJSON says whether the output is for programs.
func outputFlag(cmd *cobra.Command) *enum {
	e := &enum{value: "text", words: []string{"text", "json"}}
	cmd.Flags().VarP(e, "output", "o", "text is for people, json for programs")
	return e
}

func (e *enum) isJSON() bool { return e.value == "json" }
