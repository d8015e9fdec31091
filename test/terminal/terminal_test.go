package terminal

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestATerminalKeepsItsStateFromCommandToCommand(t *testing.T) {
	t.Parallel()
	x := Open(t, t.TempDir(), "GIVEN=yes")
	for _, c := range []struct {
		command, output string
		code            int
	}{
		{"mkdir a; cd a; set=here", "", 0},
		{"basename $PWD; echo $set $GIVEN $KUAIRELAY_URL", "a\nhere yes\n", 0},
		{"echo out; echo err >&2; (exit 7)", "out\nerr\n", 7},
		{"cat <<EOF\nin\nEOF", "in\n", 0},
		{"cat", "", 0}, // there is nobody who types
	} {
		if output, code := x.Run(c.command); output != c.output || code != c.code {
			t.Errorf("%s: %d, %q", c.command, code, output)
		}
	}
	if _, code := x.Run("echo )"); code == 0 {
		t.Error("a mistake in the syntax succeeds")
	}
	if output, _ := x.Run("echo still here"); output != "still here\n" {
		t.Errorf("after a mistake: %q", output)
	}
}

func TestAJobGoesOnBesideTheTerminal(t *testing.T) {
	t.Parallel()
	x := Open(t, t.TempDir())
	job := x.Start("echo begun; until test -e stop; do sleep 0.01; done; echo ended; (exit 3)")
	if !job.Await(func(output string) bool { return output == "begun\n" }) {
		t.Fatalf("it prints %q", job.Output())
	}
	if _, ended := job.Ended(); ended {
		t.Error("it has ended")
	}
	x.Run("touch stop")
	if job.Await(func(output string) bool { return strings.Contains(output, "never") }) {
		t.Error("what is not printed is awaited with success")
	}
	if code, ended := job.Ended(); code != 3 || !ended || job.Output() != "begun\nended\n" {
		t.Errorf("it ended with %d (%v), and printed %q", code, ended, job.Output())
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	t.Parallel()
	mark := fmt.Sprintf("9876.%d", os.Getpid()) // no other process sleeps so long, nor one of another run of this test
	t.Run("a page", func(t *testing.T) {
		x := Open(t, t.TempDir())
		x.Start("sleep " + mark)
		job := x.Start("echo begun; sleep " + mark)
		job.Await(func(output string) bool { return output != "" })
	})
	if output, _ := exec.Command("pgrep", "-f", "sleep "+mark).Output(); len(output) > 0 {
		t.Errorf("these go on: %s", output)
	}
}
