package cli

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// paper is what a batchWriter writes to. While it is held, writing waits.
type paper struct {
	held   sync.Mutex
	mu     sync.Mutex
	text   strings.Builder
	writes int
}

func (p *paper) Write(b []byte) (int, error) {
	p.held.Lock()
	defer p.held.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writes++
	return p.text.Write(b)
}

func (p *paper) lines() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Split(strings.TrimSuffix(p.text.String(), "\n"), "\n")
}

func TestEveryLineIsWrittenWholeAndInOrder(t *testing.T) {
	t.Parallel()
	out := new(paper)
	l := &batchWriter{out: out}
	const loggers, each = 20, 500
	var all sync.WaitGroup
	for g := range loggers {
		all.Go(func() {
			for n := range each {
				_, _ = fmt.Fprintf(l, "%d %d %s\n", g, n, strings.Repeat("x", n))
			}
		})
	}
	all.Wait()
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	got := out.lines()
	if len(got) != loggers*each {
		t.Fatalf("%d lines", len(got))
	}
	next := make([]int, loggers)
	for _, line := range got {
		var g, n int
		var rest string
		_, _ = fmt.Sscanf(line, "%d %d %s", &g, &n, &rest)
		if n != next[g] || len(rest) != n {
			t.Fatalf("%.40q, after line %d of it", line, next[g])
		}
		next[g]++
	}
	t.Logf("%d lines in %d writes", len(got), out.writes)
}

func TestALineIsWrittenWithoutWaitingForAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := new(paper)
		log := newLogger(out, "json", "info")
		for n := 1; n < 4; n++ {
			log.Info("so")
			synctest.Wait()
			if got := out.lines(); len(got) != n {
				t.Errorf("%q", got)
			}
		}
		log.Info("a")
		log.Warn("b")
		if got := out.lines(); len(got) != 5 || !strings.Contains(got[3], `"a"`) || !strings.Contains(got[4], `"b"`) {
			t.Errorf("the warning is not written at once: %q", got)
		}
	})
}

func TestLoggersWaitForAWriterThatIsSlow(t *testing.T) {
	t.Parallel()
	out := new(paper)
	l := &batchWriter{out: out}
	line := []byte(strings.Repeat("x", maxPending/4-1) + "\n")
	out.held.Lock()
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		for range 100 {
			_, _ = l.Write(line)
		}
	}()
	select {
	case <-logged:
		t.Error("all lines are held in memory")
	case <-time.After(50 * time.Millisecond): // it would be long done
	}
	out.held.Unlock()
	<-logged
	if _ = l.Sync(); len(out.lines()) != 100 {
		t.Errorf("%d lines", len(out.lines()))
	}
}
