// Command mutate finds what the tests do not notice. It changes one line of the code, runs tests on it, and lists the
// changes that no test failed for.
//
//	go run ./test/mutate --test 'go test -failfast ./relay/deliver' relay/deliver
//	go run ./test/mutate --sample 40 --seed 7 --test 'go test -failfast ./relay/store' relay/store/lua
//	go run ./test/mutate --again holes.tsv --test 'go test ./relay/...'
//
// A survivor is a hole in the tests, or a change that makes no difference: a person has to judge. The tree is only
// read: the changes are made, and the tests run, in a copy in a temporary directory.
//
// It is our own because no Go tool that is kept up fits: gremlins and go-mutesting change no Lua, and the tests of a
// line here are seldom those of its package alone, so that the commands have to be given.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"kuairelay/test/report"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "mutate: %v\n", err)
		os.Exit(1)
	}
}

// run is the whole program, in the root of the module.
func run(ctx context.Context, args []string, out io.Writer) error {
	f := flag.NewFlagSet("mutate [flags] FILE|DIRECTORY ...", flag.ContinueOnError)
	var tests []string
	f.Func("test", "a shell `command` that fails if a test does; may be given again, the "+
		"commands run in turn until one fails", func(command string) error {
		tests = append(tests, command)
		return nil
	})
	sample := f.Int("sample", 0, "try only so many of the changes, drawn by the seed; 0: all of them")
	seed := f.Uint64("seed", 1, "draws the sample, and the order")
	timeout := f.Duration("timeout", 0, "a command that takes longer has noticed the change; 0: three times what it "+
		"takes on the unchanged code, and 20 s")
	again := f.String("again", "", "make the changes listed in this `file`, as survivors are listed, instead of new ones")
	if err := f.Parse(args); err != nil {
		return err
	}
	if len(tests) == 0 || (f.NArg() > 0) == (*again != "") {
		return errors.New("give --test COMMAND, and files or directories, or --again FILE")
	}

	var mutants []mutant
	var err error
	if *again != "" {
		mutants, err = readMutants(*again)
	} else {
		mutants, err = draw(f.Args(), *seed)
	}
	if err != nil {
		return err
	}
	root, err := os.MkdirTemp("", "mutate-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(root)
	// What git knows, and what is new and not ignored.
	list := "git ls-files -z --cached --others --exclude-standard | tar --create --null " +
		"--files-from - --ignore-failed-read"
	copying := exec.CommandContext(ctx, "sh", "-c", list+` 2>/dev/null | tar --extract --directory "$0"`, root)
	if text, err := copying.CombinedOutput(); err != nil {
		return fmt.Errorf("copy the tree: %w\n%s", err, text)
	}
	t := trial{root: root, timeout: *timeout}
	if err := t.unchanged(ctx, tests); err != nil {
		return err
	}
	results, err := tryAll(ctx, &t, mutants, *sample, out)
	fmt.Fprint(out, summary(results))
	return err
}

// draw lists the changes to files, in random order.
func draw(paths []string, seed uint64) (all []mutant, err error) {
	for _, path := range paths {
		err := filepath.WalkDir(path, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			found, err := mutantsOf(path)
			all = append(all, found...)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	rand.New(rand.NewPCG(seed, 0)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all, nil
}

// result says what became of a mutant.
type result struct {
	mutant
	noticed bool
}

// tryAll tries mutants until there are as many results as wanted; 0: all. Those that do not build do not count.
func tryAll(ctx context.Context, t *trial, mutants []mutant, sample int, out io.Writer) ([]result, error) {
	var results []result
	for _, m := range mutants {
		if sample > 0 && len(results) == sample {
			break
		}
		became, by, err := t.try(ctx, m)
		if err != nil {
			return results, err
		}
		if err := ctx.Err(); err != nil {
			return results, err
		}

		switch became {
		case noProgram:
			fmt.Fprintf(os.Stderr, "does not build\t%s\n", m)
			continue
		case noticed:
			fmt.Fprintf(os.Stderr, "%s\t%s\n", by, m)
		case survived:
			fmt.Fprintln(out, m)
		}
		results = append(results, result{m, became == noticed})
	}
	return results, nil
}

// summary counts by package.
func summary(results []result) string {
	all, noticed := make(map[string]int), make(map[string]int)
	for _, r := range results {
		name := filepath.Dir(r.file)
		all[name]++
		if r.noticed {
			noticed[name]++
		}
	}
	table := report.Table{Head: []string{"package", "mutants", "noticed", "survived"}}
	add := func(name string, all, noticed int) {
		table.Add(name, strconv.Itoa(all), strconv.Itoa(noticed), strconv.Itoa(all-noticed))
	}
	sum := 0
	for _, name := range slices.Sorted(maps.Keys(all)) {
		add(name, all[name], noticed[name])
		sum += noticed[name]
	}
	add("all", len(results), sum)
	return table.String()
}
