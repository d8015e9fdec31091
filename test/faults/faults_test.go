package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

var built *session

// TestMain builds the relay once. The rows mostly wait, so more of them run at one time than there are cores.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set("6")
	}
	var err error
	if built, err = newSession(context.Background(), uint64(os.Getpid()), ""); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	built.close()
	os.Exit(code)
}

func TestEveryFaultLosesNothing(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("redis-server is not installed")
		}
		t.Skip("redis-server is not installed (Debian: apt-get install redis-server)")
	}
	for _, r := range rows {
		if r.alone {
			continue
		}
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			if err := r.missing(); err != nil {
				if os.Getenv("CI") == "true" {
					t.Fatal(err)
				}
				t.Skip(err)
			}
			res := built.play(t.Context(), r, short)
			t.Logf("seed %d, %.1f s: %s", built.seed, res.took.Seconds(), res.summary())
			if res.err != nil {
				t.Error(res.err)
			}
		})
	}
}
