// Package workers does work for many callers. A Group runs short functions on goroutines that are used again. A
// Batcher makes one call of many that are asked for at the same time.
package workers

import "time"

// maxIdle is how long a goroutine waits for its next function before it ends.
const maxIdle = time.Second

// Group has as many goroutines as it runs functions at the same time, and uses them again. A new goroutine begins
// with a small stack, which is copied each time that it has to grow: for a function of a few µs that needs much
// stack, this costs more than the goroutine itself. A Group may be used by several goroutines at once.
type Group struct{ idle chan func() }

// New returns a group without goroutines.
func New() *Group { return &Group{idle: make(chan func())} }

// Go runs f in another goroutine, as a go statement does, and returns at once.
func (g *Group) Go(f func()) {
	select {
	case g.idle <- f: // a goroutine was waiting
	default:
		go g.work(f)
	}
}

// work runs f, and then what Go hands it, until nothing comes for maxIdle.
func (g *Group) work(f func()) {
	f()

	idle := time.NewTimer(maxIdle)
	for {
		select {
		case f = <-g.idle:
			f()
			idle.Reset(maxIdle)
		case <-idle.C:
			return
		}
	}
}
