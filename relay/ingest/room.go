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

// errNoRoom refuses a callback for the bytes that others hold. The provider comes again.
var errNoRoom = errors.New("no room: as many bodies are in memory as limits.parse_bytes allows")

const (
	// smallBody is the size of the largest small body. Small bodies have room of their own, so that large ones cannot keep
	// them out.
	smallBody = 64 << 10
	// firstStep is how much of a body is allocated before any of it came; each further step is four times as much.
	firstStep = 8 << 10
	// patience is how long a body may take to arrive before others may have its room.
	patience = time.Second
)

// rooms bound what all callbacks take in memory at one time.
//
// A body is counted as it comes, and not by its Content-Length: so who holds room has sent as much. A quarter of the
// room is for small bodies. If a room is full, the bodies that have been coming for the longest time make place, but
// none before a second.
//
// A callback that is being parsed takes up to ten times its body. So an eighth of the room is parsed at one time as
// small bodies, and a sixteenth as large ones; the others wait for their turn, first come, first served.
type rooms struct {
	small, large *room

	parsing      *semaphore.Weighted // bytes of small bodies that are parsed
	parsingLarge *semaphore.Weighted // of large ones
	most         int64               // that parsing has
	mostLarge    int64               // that parsingLarge has
}

// newRooms makes rooms of so many bytes all together.
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

// held is what one callback has of the rooms.
type held struct {
	rooms *rooms
	began time.Time
	// cut ends the reading of its body.
	cut func()
	// came says that all of the body is there.
	came atomic.Bool
	// evicted says that others got its room before that.
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

// read reads a body of at most so many bytes. It fails with errNoRoom, with *http.MaxBytesError, or as the connection
// does.
func (h *held) read(req *http.Request, most int64) ([]byte, error) {
	if req.ContentLength > most {
		return nil, &http.MaxBytesError{Limit: most}
	}
	expected := most
	if req.ContentLength >= 0 {
		expected = req.ContentLength
	}

	// Memory is taken step by step, as the body comes.
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

// grow gives a body more memory, if there is room for it. Both are counted while one is copied to the other.
func (h *held) grow(body []byte, size int64) ([]byte, error) {
	from, to := h.rooms.of(cap(body)), h.rooms.of(int(size))
	if !to.reserve(h, size) {
		return nil, errNoRoom
	}
	grown := append(make([]byte, 0, size), body...)
	from.release(h, int64(cap(body)))
	return grown, nil
}

// of is the room for bodies of a size.
func (r *rooms) of(size int) *room {
	if size > smallBody {
		return r.large
	}
	return r.small
}

// room is a number of bytes, and who holds how many of them.
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

	// The oldest give up their room, until there is enough.
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
