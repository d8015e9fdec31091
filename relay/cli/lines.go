package cli

import (
	"io"
	"runtime"
	"sync"
)

// lines is a zapcore.WriteSyncer that writes in a goroutine of its own, as soon as those that are ready to run have
// had a turn: the lines that they log meanwhile share one write, which otherwise is a tenth of what a busy relay
// does. A killed process takes with it what was logged in that moment.
type lines struct {
	out io.Writer

	mu      sync.Mutex
	text    []byte // not written yet
	writing bool   // a goroutine is about to write it

	turn  sync.Mutex // of the one who writes
	spare []byte
}

// linesMost is how much may wait to be written, in bytes. Whoever logs more waits for it.
const linesMost = 64 << 10

// Write takes whole lines. What cannot be written is dropped, as a logger has to.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	l.text = append(l.text, p...)
	full, begin := len(l.text) >= linesMost, !l.writing
	l.writing = true
	l.mu.Unlock()
	switch {
	case full:
		_ = l.Sync()
	case begin:
		go func() {
			runtime.Gosched()
			_ = l.Sync()
		}()
	}
	return len(p), nil
}

// Sync returns when everything is written that was taken before.
func (l *lines) Sync() (err error) {
	l.turn.Lock()
	defer l.turn.Unlock()
	for {
		l.mu.Lock()
		text := l.text
		l.text, l.writing = l.spare[:0], len(text) > 0
		l.mu.Unlock()
		if len(text) == 0 {
			l.spare = text
			return err
		}
		_, err = l.out.Write(text)
		l.spare = text
	}
}
