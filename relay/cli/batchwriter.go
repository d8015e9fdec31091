package cli

import (
	"io"
	"runtime"
	"sync"
)

// maxPending is how many bytes may wait to be written. Whoever logs more waits until they are written.
const maxPending = 64 << 10

// batchWriter is a zapcore.WriteSyncer that gathers lines. It writes in a goroutine of its own, as soon as the
// goroutines that are ready to run have had a turn, so that the lines that they log share one write. A write for each
// line would be a tenth of what a busy relay does. If the process is killed, the lines of that moment are lost.
type batchWriter struct {
	out io.Writer

	mu      sync.Mutex
	text    []byte // not written yet
	writing bool   // a goroutine is about to write it

	turn  sync.Mutex // held by the goroutine that writes
	spare []byte     // the buffer that text does not use; guarded by turn
}

// Write takes whole lines, and never fails: a logger can do nothing about a line that cannot be written, so it is
// dropped.
func (w *batchWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	w.text = append(w.text, p...)
	full := len(w.text) >= maxPending
	begin := !w.writing
	w.writing = true
	w.mu.Unlock()

	switch {
	case full:
		_ = w.Sync()
	case begin:
		go func() {
			runtime.Gosched()
			_ = w.Sync()
		}()
	}
	return len(p), nil
}

// Sync returns when everything is written that was taken before.
func (w *batchWriter) Sync() (err error) {
	w.turn.Lock()
	defer w.turn.Unlock()

	for {
		// The two buffers change places: lines may be logged while the others are written.
		w.mu.Lock()
		text := w.text
		w.text = w.spare[:0]
		w.writing = len(text) > 0
		w.mu.Unlock()

		if len(text) == 0 {
			w.spare = text
			return err
		}
		_, err = w.out.Write(text)
		w.spare = text
	}
}
