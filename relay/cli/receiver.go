package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"kuairelay/relay/deliver"
	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/signature"
)

const (
	// maxWebhook is the largest body that a receiver reads, in bytes.
	maxWebhook = 16 << 20
	// rememberedIDs is how many of the latest ids a receiver remembers, at least.
	rememberedIDs = 100_000
)

// webhook is one request, as a tenant sees it; `listen -o json` prints it.
type webhook struct {
	Time     time.Time `json:"time"`
	Path     string    `json:"path"`
	ID       string    `json:"id"`
	Type     string    `json:"type"`
	Waybill  string    `json:"waybill"`
	Brand    string    `json:"cp_code"`
	Status   string    `json:"status"`
	Sequence int64     `json:"sequence"` // 0: the request has none
	Reason   string    `json:"reason"`
	Verified bool      `json:"verified"`
	Error    string    `json:"error,omitempty"` // why it is not verified
	// Seen counts the verified requests to this path with this id, this one included. More than 1: a duplicate, or a
	// repeated attempt.
	Seen   int    `json:"seen"`
	Answer int    `json:"answer"` // the HTTP status that it is given
	Body   string `json:"body"`   // as it came: what was signed
}

// receiver plays a tenant: it verifies every webhook, shows it, and answers.
type receiver struct {
	keys []signature.Key
	// answer decides the status of a webhook that is verified. Any other is answered 401.
	answer func(webhook) int
	// show is called for each webhook before it is answered, one at a time.
	show func(webhook)
	// delay is how long each answer is held back.
	delay time.Duration

	mu           sync.Mutex
	seen, before map[string]int // two generations, so that memory is bounded
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "this is a receiver of webhooks: POST them", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxWebhook))
	if err != nil {
		http.Error(w, "cannot read the body: "+err.Error(), http.StatusBadRequest)
		return
	}

	got := readWebhook(req.Header, body, time.Now())
	got.Path = req.URL.Path
	err = signature.Verify(r.keys, req.Header, body, got.Time, 0)

	// Webhooks are counted and shown one at a time; only the delay of the answer is not under the lock.
	r.mu.Lock()
	got.Verified = err == nil
	if got.Verified {
		got.Seen = r.count(got.Path + " " + got.ID)
		got.Answer = r.answer(got)
	} else {
		got.Error = err.Error()
		got.Answer = http.StatusUnauthorized
	}
	r.show(got)
	r.mu.Unlock()

	select {
	case <-time.After(r.delay):
	case <-req.Context().Done(): // the sender has given up
		return
	}

	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(got.Answer)
	_, _ = io.WriteString(w, cmp.Or(got.Error, http.StatusText(got.Answer))+"\n")
}

// count counts a path and id, and returns how often they came so far. An event has the same id at two endpoints,
// hence the path.
func (r *receiver) count(id string) int {
	if r.seen == nil || len(r.seen) >= rememberedIDs {
		r.before = r.seen
		r.seen = map[string]int{}
	}

	if r.seen[id] == 0 {
		r.seen[id] = r.before[id]
	}
	r.seen[id]++
	return r.seen[id]
}

// readWebhook reads the fields of a request. Those that it cannot read stay empty.
func readWebhook(h http.Header, body []byte, at time.Time) webhook {
	got := webhook{Time: at, ID: h.Get(signature.HeaderID), Reason: h.Get(deliver.HeaderReason), Body: string(body)}
	got.Sequence, _ = strconv.ParseInt(h.Get(deliver.HeaderSequence), 10, 64)

	var standard struct {
		Type string          `json:"type"`
		Data json.RawMessage `json:"data"`
	}
	if json.Unmarshal(body, &standard) != nil {
		return got
	}

	got.Type = standard.Type
	if standard.Type != event.TypeWaybill { // format standard, whose data is the item
		body = fmt.Appendf(nil, `{"type":%q,"data":%s}`, event.TypeWaybill, standard.Data)
	}

	if events := kuaidihelp.Parse("application/json", body, at).Events; len(events) > 0 {
		got.Waybill, got.Brand, got.Status = events[0].WaybillCode, events[0].CPCode, events[0].Status
	}
	return got
}

// serveUntil serves on l until ctx is cancelled. Then it gives the requests that are under way a second to end.
func serveUntil(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()

	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}

	moment, done := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer done()
	if server.Shutdown(moment) != nil {
		_ = server.Close() // an answer is being held back
	}

	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
