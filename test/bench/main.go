// Command bench measures the relay as a whole: its throughput, latency, CPU time and memory, beside two references that
// do no more than the physics ask, in one run on one machine. What it measures is said in the tables that it prints,
// and in the file that --write asks for.
//
//	go run ./test/bench                             # everything: about 10 minutes
//	go run ./test/bench --only W1,W2 --rounds 1     # a look
//	go run ./test/bench --write docs/benchmarks.md
//
// It starts a redis-server of its own for each case, the relay as it is built from this tree, receiver, load, post loop
// and forwarder, each as a process of its own; the last four are this program again, with the name of a part as its
// first argument. The cases take turns, round by round, so that a machine that is busy for a while wrongs all of them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"kuairelay/test/report"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// parts are what runs as processes of their own. Each takes its options as JSON, and prints its URL or its result.
var parts = map[string]func(ctx context.Context, options []byte, out io.Writer) error{
	"receiver": runReceiver, "load": runLoad, "forwarder": runForwarder, "bare": runBare, "postloop": runPostLoop,
}

// run is the whole program: the benchmark, or one of its parts.
func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 2 && parts[args[0]] != nil {
		return parts[args[0]](ctx, []byte(args[1]), out)
	}
	var o options
	err := o.parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	s, err := newSession(ctx, o)
	if err != nil {
		return err
	}
	defer s.close()
	text, err := s.all(ctx, args)
	if ctx.Err() != nil {
		return errors.New("stopped")
	}
	if err != nil {
		return err
	}
	fmt.Fprint(out, text)
	if o.Write != "" {
		return os.WriteFile(o.Write, []byte(text), 0o644)
	}
	return nil
}

// options are the flags.
type options struct {
	Rounds   int
	Only     []string
	Duration time.Duration
	Quick    bool
	Write    string
	Profile  string
	LogLevel string
	Path     string
	Viewers  int
}

func (o *options) parse(args []string) error {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.IntVar(&o.Rounds, "rounds", 3, "how often each case is measured; the tables show medians")
	f.DurationVar(&o.Duration, "duration", 5*time.Second, "of one measurement; W5 takes twice, W7 four times as long")
	f.BoolVar(&o.Quick, "quick", false, "one short round with small backlogs and few routes: does it "+
		"run? The figures mean nothing")
	f.StringVar(&o.Write, "write", "", "write the tables to this `file` as well")
	f.StringVar(&o.Profile, "profile", "", "write profiles of the relay (CPU, allocations) in each case to this "+
		"`directory`; that costs some speed")
	f.StringVar(&o.LogLevel, "log-level", "info", "of the relay, which logs into a file; info, its default, is a line "+
		"for each callback and attempt")
	f.StringVar(&o.Path, "path", "", "of reads, flood only the paths that contain this `text`, "+
		"like \"POST /v1/subscriptions\"")
	f.IntVar(&o.Viewers, "viewers", 0, "people who have the operator's pages open at each relay: the overview and the "+
		"events, by turns")
	only := f.String("only", "", "measure only these `cases`, and what they are compared to: "+
		"W1,W2,…,W8,calls,memory,replay,reads,whens,bodies,large,large at a start")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("it does not take the argument %q", f.Arg(0))
	}
	if o.Quick {
		o.Rounds, o.Duration = 1, min(o.Duration, 500*time.Millisecond)
	}
	if *only != "" {
		o.Only = strings.Split(*only, ",")
	}
	for _, name := range o.Only {
		if !slices.ContainsFunc(cases, func(c benchCase) bool { return c.name == name }) {
			return fmt.Errorf("there is no case %q", name)
		}
	}
	if o.Profile != "" {
		return os.MkdirAll(o.Profile, 0o755)
	}
	return nil
}

// session is one run of the benchmark.
type session struct {
	options
	scratch, binary string
	receiver        *remote
	runs            int // of a load so far
}

// newSession builds the relay and starts the receiver.
func newSession(ctx context.Context, o options) (*session, error) {
	dir, err := os.MkdirTemp("", "kuairelay-bench")
	if err != nil {
		return nil, err
	}
	s := &session{options: o, scratch: dir, binary: filepath.Join(dir, "kuairelay")}
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", s.binary, "kuairelay").CombinedOutput(); err != nil {
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("build the relay: %w\n%s", err, out)
	}
	if s.receiver, err = startReceiver(ctx); err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	return s, nil
}

func (s *session) close() {
	s.receiver.process.Kill()
	_ = os.RemoveAll(s.scratch)
}

// backlog is how many deliveries W4 drains.
func (s *session) backlog() int {
	if s.Quick {
		return 5_000
	}
	return 100_000
}

// tenants is how many W6 has.
func (s *session) tenants() int {
	if s.Quick {
		return 500
	}
	return 10_000
}

// all measures every case that is wanted in every round, and returns the tables.
func (s *session) all(ctx context.Context, args []string) (string, error) {
	m, err := report.ThisMachine(ctx, "go run ./test/bench", args)
	if err != nil {
		return "", err
	}
	r := make(results)
	for round := range s.Rounds {
		for _, c := range cases {
			if !c.wanted(s.Only) || (c.once && round > 0) {
				continue
			}
			began := time.Now()
			f, err := c.run(ctx, s)
			if err != nil {
				return "", fmt.Errorf("%s: %w", c.name, err)
			}
			r[c.name] = append(r[c.name], f)
			fmt.Fprintf(os.Stderr, "round %d/%d  %-16s %8.0f deliveries/s  %6.1f s\n",
				round+1, s.Rounds, c.name, f.rate(), time.Since(began).Seconds())
		}
	}
	return text(m, r), nil
}
