// Command faults lets everything fail that the design names, under load, and shows that nothing which was answered
// success is lost, and that all of it heals by itself. It works on the built binary, real redis-servers and real
// endpoints, all on loopback.
//
//	go run ./test/faults                              # every row: about 15 minutes
//	go run ./test/faults --only redis-hung,spool-full # a part
//	go run ./test/faults --long 30m                   # all faults at random over three replicas
//	go run ./test/faults --write docs/faults.md       # with --long: its last section
//
// A checker knows every event that was acknowledged and what each endpoint got: lost, repeated, out of order, unsigned,
// misrouted, altered. The same rows run, shorter, as tests of this package. What is drawn at random comes from --seed;
// which instruction a kill -9 meets is up to the machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"kuairelay/test/process"
	"kuairelay/test/report"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends it at once, and the kernel what it has started
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "faults: %v\n", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	seed  uint64
	only  []string
	long  time.Duration
	short bool
	write string
	// binary is played on instead of the relay as it is built from this tree.
	binary string
}

func (o *options) parse(args []string) error {
	f := flag.NewFlagSet("faults", flag.ContinueOnError)
	f.Uint64Var(&o.seed, "seed", rand.Uint64N(1_000_000), "what is drawn at random is drawn from this")
	f.DurationVar(&o.long, "long", 0, "mix all faults at random over three replicas for so long, instead of the rows")
	f.BoolVar(&o.short, "short", false, "as short as in the tests; times are not judged")
	f.StringVar(&o.write, "write", "", "write the tables to this `file` as well")
	f.StringVar(&o.binary, "binary", "", "play on this `program` instead of building the relay from this tree")
	only := f.String("only", "", "only these `rows`: "+strings.Join(names(rows), ", "))
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("it does not take the argument %q", f.Arg(0))
	}
	if *only != "" {
		o.only = strings.Split(*only, ",")
	}
	for _, name := range o.only {
		if !slices.Contains(names(rows), name) {
			return fmt.Errorf("there is no row %q: there are %s", name, strings.Join(names(rows), ", "))
		}
	}
	return nil
}

// run is the whole program. It is an error if a row has shown what it must not.
func run(ctx context.Context, args []string, out io.Writer) error {
	var o options
	err := o.parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	m, err := report.ThisMachine(ctx, "go run ./test/faults", args)
	if err != nil {
		return err
	}
	s, err := newSession(ctx, o.seed, o.binary)
	if err != nil {
		return err
	}
	defer s.close()
	var results []result
	var failed []string
	for _, r := range o.rows() {
		if err := r.missing(); err != nil {
			fmt.Fprintf(os.Stderr, "%-18s not played: %v\n", r.name, err)
			continue
		}
		settleDisk(ctx)
		res := s.play(ctx, r, o.size())
		if ctx.Err() != nil {
			return errors.New("stopped")
		}
		results = append(results, res)
		fmt.Fprintf(os.Stderr, "%-18s %6.1f s  %s\n", r.name, res.took.Seconds(), res.summary())
		if res.err != nil {
			failed = append(failed, r.name)
			fmt.Fprintf(os.Stderr, "%s: %v\n", r.name, res.err)
		}
	}
	text := write(m, o.seed, results)
	if o.long > 0 {
		text = writeLong(m, o.seed, o.long, results)
	}
	fmt.Fprint(out, text)
	if o.write != "" {
		err = o.save(text)
	}
	if len(failed) > 0 {
		err = errors.Join(err, fmt.Errorf("seed %d: failed: %s", o.seed, strings.Join(failed, ", ")))
	}
	return err
}

// save writes the tables to a file. A long run is the file's last section: it and the others keep each other.
func (o options) save(text string) error {
	old, err := os.ReadFile(o.write)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	rows, long, _ := strings.Cut(string(old), longHeading)
	switch {
	case o.long > 0:
		text = rows + text
	case long != "":
		text += longHeading + long
	}
	return os.WriteFile(o.write, []byte(text), 0o644)
}

// settleDisk writes to the disk what is still to be written: by the build, and by the row before. Otherwise it is
// written in the course of a row, whose own syncs then wait for half a second.
func settleDisk(ctx context.Context) {
	_ = exec.CommandContext(ctx, "sync").Run() // without it the figures are worse, and nothing else
}

// rows are those to be played.
func (o options) rows() []row {
	if o.long > 0 {
		return []row{longRow(o.long)}
	}
	return slices.DeleteFunc(slices.Clone(rows), func(r row) bool {
		return len(o.only) > 0 && !slices.Contains(o.only, r.name)
	})
}

func (o options) size() size {
	if o.short {
		return short
	}
	return full
}

// session is one run of the program: the binary, and what its rows share.
type session struct {
	seed            uint64
	scratch, binary string
}

// newSession builds the relay, unless there is one.
func newSession(ctx context.Context, seed uint64, binary string) (*session, error) {
	dir, err := os.MkdirTemp("", "kuairelay-faults")
	if err != nil {
		return nil, err
	}
	s := &session{seed: seed, scratch: dir, binary: filepath.Join(dir, "kuairelay")}
	if binary != "" {
		s.binary = binary
		return s, nil
	}
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", s.binary, "kuairelay").CombinedOutput(); err != nil {
		s.close()
		return nil, fmt.Errorf("build the relay: %w\n%s", err, out)
	}
	return s, nil
}

func (s *session) close() { _ = os.RemoveAll(s.scratch) }

// port finds one that no other row gets.
func (s *stage) port() int {
	port, err := process.FreePort(s.ctx)
	s.must(err)
	return port
}
