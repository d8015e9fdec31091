// Package workers does work for many callers: it runs short functions on goroutines that are used again, and makes one call of many
// that are asked for at the same time.
package workers

import "time"

// idleMost is how long a goroutine waits for its next function.
const idleMost = time.Second

// Crew has as many goroutines as there are functions at the same time, and uses them again. A new goroutine begins with a small
// stack, which is copied each time that it has to grow: where a function of a few µs needs much of it, that is dearer than the
// goroutine itself.
type Crew struct{ idle chan func() }

// New returns a crew without goroutines.
func New() *Crew { return &Crew{idle: make(chan func())} }

// Go runs f, as a go statement does.
func (c *Crew) Go(f func()) {
	select {
	case c.idle <- f:
	default:
		go c.work(f)
	}
}

func (c *Crew) work(f func()) {
	f()
	rest := time.NewTimer(idleMost)
	for {
		select {
		case f = <-c.idle:
			f()
			rest.Reset(idleMost)
		case <-rest.C:
			return
		}
	}
}
