package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	webhook "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// endpoint is one of a tenant: it verifies every request with the official library, and tells the checker. It stays on
// its address while it refuses connections for a time.
type endpoint struct {
	name   string // tenant/endpoint
	brand  string // the one that it gets, or all ("")
	secret string
	addr   string
	host   string // in its URL; default 127.0.0.2, the only address that relays may dial
	check  *checker

	// answer, if set, answers the requests.
	answer   atomic.Pointer[answerer]
	requests atomic.Int64 // whether or not they were answered

	verify *webhook.Webhook
	mu     sync.Mutex
	server *http.Server
}

// answerer answers a request that is signed as it should be. If it takes the update, it calls take, which tells the
// checker and says how often the update has come by now; an attempt that is refused is no arrival.
type answerer func(w http.ResponseWriter, req *http.Request, u update, take func() int)

// newEndpoint starts an endpoint, with a secret of its own, so that no endpoint takes what is signed for another.
func newEndpoint(ctx context.Context, check *checker, name, brand, addr string) (*endpoint, error) {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	secret := "whsec_" + base64.StdEncoding.EncodeToString(key)
	wh, err := webhook.NewWebhook(secret)
	if err != nil {
		return nil, err
	}
	e := &endpoint{name: name, brand: brand, secret: secret, addr: addr, check: check, verify: wh}
	check.endpoint(name)
	return e, e.open(ctx)
}

// url is where the relay is to send.
func (e *endpoint) url() string {
	_, port, _ := net.SplitHostPort(e.addr)
	return "http://" + net.JoinHostPort(cmp.Or(e.host, "127.0.0.2"), port) + "/"
}

// open listens, again after close on the same address.
func (e *endpoint) open(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", e.addr)
	if err != nil {
		return fmt.Errorf("endpoint %s: %w", e.name, err)
	}
	e.addr = l.Addr().String()
	e.server = &http.Server{Handler: http.HandlerFunc(e.serve), ReadHeaderTimeout: time.Minute}
	go func(s *http.Server) { _ = s.Serve(l) }(e.server)
	return nil
}

// close refuses connections from now on, and cuts those that are open.
func (e *endpoint) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	_ = e.server.Close()
}

// behave sets how requests are answered. Nil: all are taken.
func (e *endpoint) behave(a answerer) {
	if a == nil {
		e.answer.Store(nil)
		return
	}
	e.answer.Store(&a)
}

func (e *endpoint) serve(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // its sender was killed
	}
	e.requests.Add(1)
	if err := e.verify.Verify(body, req.Header); err != nil {
		e.check.unsigned()
		return
	}
	u, err := readUpdate(body)
	if err != nil {
		e.check.arrived(e.name, arrival{}) // misrouted: nobody pushed it
		return
	}
	take := func() int {
		sequence, _ := strconv.ParseInt(req.Header.Get("kuairelay-sequence"), 10, 64)
		var b struct{ Data json.RawMessage }
		_ = json.Unmarshal(body, &b) // readUpdate has read it
		return e.check.arrived(e.name, arrival{update: u, id: req.Header.Get("webhook-id"), sequence: sequence,
			reason: req.Header.Get("kuairelay-reason"),
			item:   string(b.Data)})
	}
	if answer := e.answer.Load(); answer != nil {
		(*answer)(w, req, u, take)
		return
	}
	take()
}

func readUpdate(body []byte) (update, error) {
	var b struct {
		Data struct {
			Waybill string `json:"waybill_code"`
			N       int    `json:"n"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &b); err != nil {
		return update{}, err
	}
	if b.Data.Waybill == "" {
		return update{}, errors.New("no waybill")
	}
	return update{b.Data.Waybill, b.Data.N}, nil
}
