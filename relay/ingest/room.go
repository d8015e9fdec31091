package ingest

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// errNoRoom refuses a callback because others use the memory. The provider sends it again.
var errNoRoom = errors.New("no room: as many bodies are in memory as limits.parse_bytes allows")

const (
	// smallBody is the size of the largest small body. Small bodies have memory of their own, so that large ones cannot
	// keep them out.
	smallBody = 64 << 10
	// firstStep is how much of a body is allocated before any of it came. Each further step is four times as much.
	firstStep = 8 << 10
	// patience is how long a body may take to arrive before others may get its memory.
	patience = time.Second
)

// rooms bound the memory of all callbacks together.
//
// A body is counted as it comes, not by its Content-Length: a client that uses memory has sent as much. A quarter of
// the memory is for small bodies. If a room is full, the bodies that have been coming for the longest time are evicted,
// but none within its first second.
//
// A callback that is being parsed takes up to ten times its body. So small bodies are parsed at the same time up to an
// eighth of the memory, and large ones up to a sixteenth. The others wait for their turn, first come, first served.
type rooms struct {
	small, large *room

	parsing      *semaphore.Weighted // bytes of small bodies that are parsed
	parsingLarge *semaphore.Weighted // of large ones
	most         int64               // that parsing has
	mostLarge    int64               // that parsingLarge has
}

// newRooms makes rooms of so many bytes together.
func newRooms(bytes int64) *rooms {
	most, mostLarge := bytes/8, bytes/16
	return &rooms{
		small:        newRoom(bytes / 4),
		large:        newRoom(bytes - bytes/4),
		parsing:      semaphore.NewWeighted(most),
		parsingLarge: semaphore.NewWeighted(mostLarge),
		most:         most,
		mostLarge:    mostLarge,
	}
}

// parse waits until a body of that size may be parsed.
func (h *held) parse(ctx context.Context, size int) error {
	turns, most := h.rooms.parsing, h.rooms.most
	if size > smallBody {
		turns, most = h.rooms.parsingLarge, h.rooms.mostLarge
	}
	weight := min(int64(size), most)
	if turns.Acquire(ctx, weight) != nil {
		return errNoRoom
	}
	h.leaveTurn = func() { turns.Release(weight) }
	return nil
}

// held is the memory of one callback.
type held struct {
	rooms *rooms
	began time.Time
	// cut stops the reading of its body.
	cut func()
	// came says that the whole body has arrived.
	came atomic.Bool
	// evicted says that others got its memory before that.
	evicted atomic.Bool
	// leaveTurn ends its turn at parsing.
	leaveTurn func()
}

// enter begins a callback. cut is called to make its body end.
func (r *rooms) enter(cut func()) *held {
	return &held{rooms: r, began: time.Now(), cut: cut, leaveTurn: func() {}}
}

// leave gives back all that a callback has.
func (h *held) leave() {
	h.leaveTurn()
	h.rooms.small.release(h, math.MaxInt64)
	h.rooms.large.release(h, math.MaxInt64)
}

// read reads a body of at most so many bytes. It fails with errNoRoom, with *http.MaxBytesError, or with the error of
// the connection.
func (h *held) read(req *http.Request, most int64) ([]byte, error) {
	if req.ContentLength > most {
		return nil, &http.MaxBytesError{Limit: most}
	}
	expected := most
	if req.ContentLength >= 0 {
		expected = req.ContentLength
	}

	// Memory is reserved step by step, as the body comes.
	src := http.MaxBytesReader(nil, req.Body, most)
	var body []byte
	for step := int64(firstStep); ; step *= 4 {
		grown, err := h.grow(body, min(step, expected+1)) // one more, to see the end
		if err != nil {
			return nil, err
		}
		body = grown

		for len(body) < cap(body) && err == nil {
			var n int
			n, err = src.Read(body[len(body):cap(body)])
			body = body[:len(body)+n]
		}

		switch {
		case errors.Is(err, io.EOF):
			h.came.Store(true)
			return body, nil
		case h.evicted.Load():
			return nil, errNoRoom
		case err != nil:
			return nil, err
		}
	}
}

// grow gives a body more memory, if there is enough. Old and new are both counted while one is copied to the other.
func (h *held) grow(body []byte, size int64) ([]byte, error) {
	from, to := h.rooms.of(cap(body)), h.rooms.of(int(size))
	if !to.reserve(h, size) {
		return nil, errNoRoom
	}
	grown := append(make([]byte, 0, size), body...)
	from.release(h, int64(cap(body)))
	return grown, nil
}

// of returns the room for bodies of a size.
func (r *rooms) of(size int) *room {
	if size > smallBody {
		return r.large
	}
	return r.small
}

// room is a number of bytes, and which callbacks have how many of them.
type room struct {
	mu   sync.Mutex
	free int64
	held map[*held]int64
}

func newRoom(bytes int64) *room { return &room{free: bytes, held: make(map[*held]int64)} }

// reserve gives h so many more bytes, if there are as many.
func (r *room) reserve(h *held, bytes int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.evict(h, bytes-r.free)
	if h.evicted.Load() || r.free < bytes {
		return false
	}
	r.free -= bytes
	r.held[h] += bytes
	return true
}

// evict frees at least so many bytes for h, or none. It takes them from bodies that have been coming for longer than
// patience, the oldest first. The caller holds mu.
func (r *room) evict(h *held, bytes int64) {
	if bytes <= 0 {
		return
	}

	var slow []*held
	sum := int64(0)
	for x, has := range r.held {
		if x != h && !x.came.Load() && time.Since(x.began) > patience {
			slow = append(slow, x)
			sum += has
		}
	}
	if sum < bytes {
		return
	}

	// The oldest are evicted, until there is enough.
	slices.SortFunc(slow, func(a, b *held) int { return a.began.Compare(b.began) })
	for _, x := range slow {
		if bytes <= 0 {
			return
		}
		bytes -= r.held[x]
		r.free += r.held[x]
		delete(r.held, x)
		x.evicted.Store(true)
		x.cut()
	}
}

// release gives back at most so many of the bytes that h has.
func (r *room) release(h *held, bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	bytes = min(bytes, r.held[h])
	r.free += bytes
	r.held[h] -= bytes
	if r.held[h] == 0 {
		delete(r.held, h)
	}
}
