package browser

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"
)

// receivers are the servers of tenants, one for each path: /orders is the one called orders.
type receivers struct {
	server *httptest.Server
	closed chan struct{}

	mu     sync.Mutex
	answer map[string]answer
	got    map[string][]received
}

// answer is what a receiver says to each request. A zero field means its default.
type answer struct {
	Status  int // default 200
	Body    string
	Headers map[string]string
	Delay   int  // ms
	Hang    bool // there is none, until the stage ends or the relay goes
}

// received is a request that a receiver got.
type received struct {
	At      time.Time         `json:"at"`
	Headers map[string]string `json:"headers"` // names in lower case
	Body    string            `json:"body"`
}

func newReceivers() *receivers {
	r := &receivers{closed: make(chan struct{}), answer: map[string]answer{}, got: map[string][]received{}}
	r.server = httptest.NewServer(r)
	return r
}

func (r *receivers) close() {
	close(r.closed)
	r.server.Close()
}

// ServeHTTP answers a delivery as that receiver was told.
func (r *receivers) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // the relay gave the attempt up
	}
	one := received{At: time.Now(), Headers: map[string]string{}, Body: string(body)}
	for name, values := range req.Header {
		one.Headers[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	name := strings.Trim(req.URL.Path, "/")
	r.mu.Lock()
	a := r.answer[name]
	r.got[name] = append(r.got[name], one)
	r.mu.Unlock()

	wait := time.Duration(a.Delay) * time.Millisecond
	if a.Hang {
		wait = time.Hour
	}
	select {
	case <-time.After(wait):
	case <-req.Context().Done():
		return
	case <-r.closed:
		return
	}
	for name, value := range a.Headers {
		w.Header().Set(name, value)
	}
	if a.Status != 0 {
		w.WriteHeader(a.Status)
	}
	_, _ = io.WriteString(w, a.Body)
}

// elsewhere is another origin: it serves one page, which a check sets.
type elsewhere struct {
	server *httptest.Server

	mu   sync.Mutex
	page string
}

func newElsewhere() *elsewhere {
	e := &elsewhere{}
	e.server = httptest.NewServer(e)
	return e
}

// ServeHTTP answers with the page.
func (e *elsewhere) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(w, e.page)
}
