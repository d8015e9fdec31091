package ingest

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func request(body io.Reader, length int64) *http.Request {
	req := httptest.NewRequest(http.MethodPost, "/", body)
	req.ContentLength = length
	return req
}

func TestABodyIsReadWhateverItsLengthAndHowItComes(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, firstStep - 1, firstStep, firstStep + 1, 100_000, 1 << 20} {
		for _, length := range []int64{int64(n), -1} {
			r := newRooms(16 << 20)
			h := r.enter(func() {})
			text := strings.Repeat("x", n)
			body, err := h.read(request(inPieces{strings.NewReader(text)}, length), 1<<20)
			if err != nil || string(body) != text {
				t.Errorf("%d bytes, content-length %d: %d, %v", n, length, len(body), err)
			}
			h.leave()
			if r.small.free != 4<<20 || r.large.free != 12<<20 {
				t.Errorf("%d bytes, content-length %d: %d and %d are free afterwards", n, length, r.small.free, r.large.free)
			}
		}
	}
}

// inPieces gives at most 1,000 bytes at a time.
type inPieces struct{ io.Reader }

func (r inPieces) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(len(p), 1000)]) }

func TestABodyThatIsTooLargeOrCutOffIsNotRead(t *testing.T) {
	t.Parallel()
	cut := io.MultiReader(strings.NewReader("half of "), failing{})
	for name, req := range map[string]*http.Request{
		"length": request(strings.NewReader(""), 11), "chunked": request(strings.NewReader(strings.Repeat("x", 11)), -1),
		"cut off": request(cut, -1),
	} {
		h := newRooms(1 << 20).enter(func() {})
		_, err := h.read(req, 10)
		_, large := errors.AsType[*http.MaxBytesError](err)
		if err == nil || large != (name != "cut off") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestBodiesAreCountedAsTheyComeAndRefusedAboveTheTotal(t *testing.T) {
	t.Parallel()
	r := newRooms(4 << 20)
	var all []*held
	refused := 0
	for range 64 {
		h := r.enter(func() {})
		defer h.leave()
		if _, err := h.read(request(strings.NewReader(strings.Repeat("x", 1<<20)), 1<<20), 1<<20); errors.Is(err, errNoRoom) {
			refused++
			h.leave()
		}
		all = append(all, h)
	}
	if refused != 62 { // 3 MiB are for large bodies; half a body more is held while it grows
		t.Errorf("%d of %d were refused", refused, len(all))
	}
	h := r.enter(func() {})
	if _, err := h.read(request(strings.NewReader("small"), 5), 1<<20); err != nil {
		t.Errorf("a small one beside them: %v", err)
	}
	// A Content-Length alone takes nothing.
	r = newRooms(4 << 20)
	for range 64 {
		if _, err := r.enter(func() {}).read(request(failing{}, 1<<20), 1<<20); errors.Is(err, errNoRoom) {
			t.Fatal("an announced body takes room")
		}
	}
}

func TestABodyThatIsSlowGivesWayToOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRooms(1 << 20)
		var cut atomic.Int32
		answers := make(chan error, 32)
		for range 32 { // 32 × 8 KiB is all that there is for small ones
			in, out := io.Pipe()
			h := r.enter(func() {
				cut.Add(1)
				_ = out.CloseWithError(errors.New("i/o timeout"))
			})
			go func() {
				defer h.leave()
				_, err := h.read(request(in, -1), 1<<20)
				answers <- err
			}()
			go func() { _, _ = out.Write([]byte("slow")) }()
		}
		read := func() error {
			h := r.enter(func() {})
			defer h.leave()
			_, err := h.read(request(strings.NewReader(strings.Repeat("x", 2*firstStep)), 2*firstStep), 1<<20)
			return err
		}
		synctest.Wait()
		if err := read(); !errors.Is(err, errNoRoom) {
			t.Errorf("while all of them are young: %v", err)
		}
		time.Sleep(patience + 1)
		if err := read(); err != nil {
			t.Errorf("when they have had their time: %v", err)
		}
		n := int(cut.Load())
		if n == 0 || n > 8 {
			t.Errorf("%d gave way", n)
		}
		for range n {
			if err := <-answers; !errors.Is(err, errNoRoom) {
				t.Errorf("one that gave way: %v", err)
			}
		}
		r.small.mu.Lock()
		left := slices.Collect(maps.Keys(r.small.held))
		r.small.mu.Unlock()
		for _, h := range left {
			h.cut()
		}
	})
}

func TestOnlySoManyBytesAreParsedAtOneTime(t *testing.T) {
	t.Parallel()
	r := newRooms(64 << 20)
	for size, want := range map[int]int{smallBody: 128, 1 << 20: 4, 100 << 20: 1} {
		var all []*held
		for range want {
			h := r.enter(func() {})
			if err := h.parse(t.Context(), size); err != nil {
				t.Fatalf("of %d bytes only %d at one time: %v", size, len(all), err)
			}
			all = append(all, h)
		}

		// One more waits, and gives up with its request.
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := r.enter(func() {}).parse(ctx, size); !errors.Is(err, errNoRoom) {
				t.Errorf("of %d bytes more than %d at one time: %v", size, want, err)
			}
		})
		for _, h := range all {
			h.leave()
		}
	}
}
