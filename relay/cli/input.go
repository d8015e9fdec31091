package cli

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

// maxInput is the largest body that is read from a file or stdin, in bytes.
const maxInput = 64 << 20

// readInput reads a file, or stdin if file is "-" or empty. An interrupt ends it while it waits for input.
func readInput(cmd *cobra.Command, file string) ([]byte, error) {
	if file != "-" && file != "" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return readAtMost(f)
	}

	in := cmd.InOrStdin()
	if isTerminal(in) {
		fmt.Fprintln(cmd.ErrOrStderr(), "Reading the body from the terminal; Ctrl-D ends it.")
	}

	// A read from a terminal cannot be interrupted, so it is left behind in its goroutine.
	type result struct {
		text []byte
		err  error
	}
	read := make(chan result, 1)
	go func() {
		text, err := readAtMost(in)
		read <- result{text, err}
	}()

	select {
	case r := <-read:
		return r.text, r.err
	case <-cmd.Context().Done():
		return nil, fmt.Errorf("read stdin: %w", context.Cause(cmd.Context()))
	}
}

func readAtMost(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	if err == nil && len(text) > maxInput {
		err = fmt.Errorf("the input is larger than %d MiB", maxInput>>20)
	}
	return text, err
}
