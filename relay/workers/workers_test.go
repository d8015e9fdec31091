package workers

import (
	"bytes"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestFunctionsAtTheSameTimeAndOneAfterTheOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := New()
		var all sync.WaitGroup
		for range 10 { // each needs the others to run
			var together sync.WaitGroup
			together.Add(20)
			all.Add(20)
			for range 20 {
				g.Go(func() {
					defer all.Done()
					together.Done()
					together.Wait()
				})
			}
			all.Wait()
			synctest.Wait()
			if n := goroutines(); n != 20 {
				t.Fatalf("%d goroutines", n)
			}
		}
		time.Sleep(maxIdle)
		synctest.Wait()
		if n := goroutines(); n != 0 {
			t.Errorf("%d goroutines are left", n)
		}
	})
}

// goroutines is how many goroutines of all groups there are.
func goroutines() int {
	stacks := make([]byte, 1<<20)
	return bytes.Count(stacks[:runtime.Stack(stacks, true)], []byte("created by kuairelay/relay/workers.(*Group)"))
}

func BenchmarkGo(b *testing.B) {
	g := New()
	for name, run := range map[string]func(func()){"group": g.Go, "go": func(f func()) { go f() }} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var done sync.WaitGroup
			for b.Loop() {
				done.Add(1)
				run(func() { deep(30); done.Done() })
				done.Wait()
			}
		})
	}
}

// deep needs about 8 KB of stack.
//
//go:noinline
func deep(n int) byte {
	var frame [256]byte
	if n > 0 {
		frame[n] = deep(n - 1)
	}
	return frame[n] + frame[0]
}
