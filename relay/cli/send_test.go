package cli_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
)

// pushed is one request that a relay got.
type pushed struct {
	path, contentType, body string
	events                  []*event.Event
}

// relayStub answers every callback, and keeps it.
type relayStub struct {
	*httptest.Server
	answer func(w http.ResponseWriter, n int)

	mu  sync.Mutex
	got []pushed
}

func newRelayStub(t *testing.T, answer func(w http.ResponseWriter, n int)) *relayStub {
	t.Helper()
	r := &relayStub{answer: answer}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		contentType := req.Header.Get("Content-Type")
		p := pushed{path: req.URL.Path, contentType: contentType, body: string(body),
			events: kuaidihelp.Parse(contentType, body, time.Now()).Events}
		r.mu.Lock()
		r.got = append(r.got, p)
		n := len(r.got)
		r.mu.Unlock()
		if r.answer != nil {
			r.answer(w, n)
			return
		}
		_, _ = io.WriteString(w, "success")
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *relayStub) all() []pushed {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// sum is what `send -o json` prints.
type sum struct {
	To                                                   string
	Sent, Repeats, Updates, Accepted, Failed, Unfinished int
	Failures                                             map[string]int
	Seconds, Rate                                        float64
	Seed                                                 uint64
}

func send(t *testing.T, to string, args ...string) (int, sum) {
	t.Helper()
	code, stdout, stderr := run(t, "", append([]string{"send", "--to", to, "-o", "json"}, args...)...)
	if stderr != "" {
		t.Errorf("stderr: %s", stderr)
	}
	return code, parse[sum](t, stdout)
}

func TestSendPushesUpdatesInTheOrderOfEachParcelHoweverManyAtATime(t *testing.T) {
	t.Parallel()
	r := newRelayStub(t, nil)
	code, got := send(t, r.URL+"/callback/x", "-n", "400", "--waybills", "20", "--concurrency", "8", "--items", "3")
	if code != 0 || got.Sent != 400 || got.Updates != 1200 || got.Accepted != 400 || got.Repeats != 0 {
		t.Fatalf("exit %d: %+v", code, got)
	}
	tracks, brands := map[string]int{}, map[string]bool{}
	for _, p := range r.all() {
		if len(p.events) != 3 {
			t.Fatalf("%d items in %s", len(p.events), p.body)
		}
		for _, e := range p.events {
			brands[e.CPCode] = true
			if tracks[e.WaybillCode]++; tracks[e.WaybillCode] != len(e.Tracks) {
				t.Errorf("%s: update no. %d has %d tracks", e.WaybillCode, tracks[e.WaybillCode], len(e.Tracks))
			}
		}
	}
	if len(brands) != len(kuaidihelp.Brands()) {
		t.Errorf("brands %v", brands)
	}
}

func TestSendTakesEveryEncodingInTurn(t *testing.T) {
	t.Parallel()
	r := newRelayStub(t, nil)
	send(t, r.URL, "-n", "12", "--encoding", "all")
	heads := map[string]int{}
	for _, p := range r.all() {
		if len(p.events) != 1 {
			t.Errorf("not understood: %s %s", p.contentType, p.body)
		}
		kind, _, _ := strings.Cut(p.contentType, ";")
		heads[kind]++
	}
	if fmt.Sprint(heads) != "map[application/json:6 application/x-www-form-urlencoded:4 multipart/form-data:2]" {
		t.Errorf("%v", heads)
	}
	if code, got := send(t, r.URL, "-n", "12", "--encoding", "all", "--items", "2"); code != 0 || got.Updates != 24 {
		t.Errorf("exit %d: %+v", code, got)
	}
}

func TestSendTakesBrandsAndStatusesThatAreGiven(t *testing.T) {
	t.Parallel()
	r := newRelayStub(t, nil)
	send(t, r.URL, "-n", "200", "--waybills", "2", "--brand", "zt", "--brand", "yt", "--status", "question", "--status",
		"刻字")
	brands, statuses, most := map[string]int{}, map[string]int{}, 0
	for _, p := range r.all() {
		brands[p.events[0].CPCode]++
		statuses[p.events[0].Status]++
		most = max(most, len(p.events[0].Tracks))
	}
	if len(brands) != 2 || brands["zt"] == 0 || brands["ytsd"] == 0 || len(statuses) != 2 || statuses["question"] == 0 ||
		statuses["刻字"] == 0 {
		t.Errorf("brands %v, statuses %v", brands, statuses)
	}
	if most > 20 {
		t.Errorf("a parcel has %d tracks: it grows without end", most)
	}
}

func TestSendRepeatsAShareOfItsCallbacks(t *testing.T) {
	t.Parallel()
	r := newRelayStub(t, nil)
	_, got := send(t, r.URL, "-n", "500", "--duplicates", "0.4", "--waybills", "40")
	bodies := map[string]int{}
	for _, p := range r.all() {
		bodies[p.body]++
	}
	if len(bodies) != got.Sent-got.Repeats || got.Repeats < 120 || got.Repeats > 280 {
		t.Errorf("%d different bodies: %+v", len(bodies), got)
	}
}

func TestSendMakesTheSameParcelsUpForTheSameSeed(t *testing.T) {
	t.Parallel()
	bodies := func(seed string) []string {
		r := newRelayStub(t, nil)
		send(t, r.URL, "-n", "50", "--seed", seed, "--duplicates", "0.1", "--encoding", "all")
		var out []string
		for _, p := range r.all() {
			out = append(out, p.body)
		}
		slices.Sort(out) // lanes overtake each other
		return out
	}
	one := bodies("1")
	if !slices.Equal(one, bodies("1")) {
		t.Error("two runs with a seed differ")
	}
	if slices.Equal(one, bodies("2")) {
		t.Error("another seed makes up the same")
	}
	if r := newRelayStub(t, nil); true {
		_, a := send(t, r.URL, "-n", "1")
		_, b := send(t, r.URL, "-n", "1")
		if got := r.all(); got[0].body == got[1].body || a.Seed == b.Seed || a.Seed == 0 {
			t.Error("without a seed, two runs push the same")
		}
	}
}

func TestSendKeepsToItsRate(t *testing.T) {
	t.Parallel()
	r := newRelayStub(t, nil)
	// The last of 11 callbacks at 50 a second is due after 200 ms; a slow machine may take longer.
	if _, got := send(t, r.URL, "-n", "11", "--rate", "50"); got.Seconds < 0.2 {
		t.Errorf("it took %v s", got.Seconds)
	}
}

func TestSendCountsFailuresByTheirKindAndNamesTheLikelyReason(t *testing.T) {
	t.Parallel()
	answers := newRelayStub(t, func(w http.ResponseWriter, n int) {
		switch {
		case n <= 2:
			http.Error(w, "failure", http.StatusServiceUnavailable)
		case n == 3:
			_, _ = io.WriteString(w, "failure")
		case n == 4:
			panic(http.ErrAbortHandler)
		default:
			_, _ = io.WriteString(w, "success")
		}
	})
	code, got := send(t, answers.URL+"/callback/my-token", "-n", "6", "--concurrency", "1")
	want := map[string]int{"503 Service Unavailable": 2, "200 with another answer than --ack": 1,
		"connection closed before the answer": 1}
	if code != 1 || got.Accepted != 2 || got.Failed != 4 || fmt.Sprint(got.Failures) != fmt.Sprint(want) ||
		strings.Contains(got.To, "my-token") {
		t.Errorf("exit %d: %+v", code, got)
	}
	if code, got := send(t, answers.URL, "-n", "1", "--ack", "success"); code != 0 || got.Failed != 0 {
		t.Errorf("exit %d: %+v", code, got)
	}
	code, stdout, _ := run(t, "", "send", "--to", "http://127.0.0.1:1/callback/my-token", "-n", "2")
	if code != 1 || !strings.Contains(stdout, "2  connection refused\n             is the relay running?") ||
		strings.Contains(stdout, "my-token") {
		t.Errorf("exit %d\n%s", code, stdout)
	}
}

func TestSendPostsAFileAsItIs(t *testing.T) {
	t.Parallel()
	r := newRelayStub(t, nil)
	for body, want := range map[string]string{
		"{\"type\": \"express_sub_msg\", \"data\": []}\r\n\r\n": "application/json",
		" \n[1,2]":                         "application/json",
		"type=express_sub_msg&data=%5B%5D": "application/x-www-form-urlencoded",
		"--frontier\r\nContent-Disposition: form-data; name=type\r\n": "multipart/form-data; boundary=frontier",
		"\xff\x00": "application/x-www-form-urlencoded",
		"":         "application/x-www-form-urlencoded",
	} {
		before := len(r.all())
		code, got := send(t, r.URL, write(t, "callback", body))
		if p := r.all(); code != 0 || got.Sent != 1 || len(p) != before+1 || p[before].body != body ||
			p[before].contentType != want {
			t.Errorf("%q: exit %d, %+v", body, code, p[before:])
		}
	}
	before := len(r.all())
	code, stdout, stderr := run(t, "from stdin", "send", "-", "--to", r.URL, "--content-type", "text/plain", "-n", "5")
	if code != 0 || !strings.Contains(stdout, "5 callbacks (4 repeats) to "+r.URL+"/…\n") ||
		strings.Contains(stdout, "seed") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	for _, p := range r.all()[before:] {
		if p.body != "from stdin" || p.contentType != "text/plain" {
			t.Errorf("%+v", p)
		}
	}
	if code, _, stderr := run(t, "", "send", "nowhere.json"); code != 1 ||
		!strings.Contains(stderr, "nowhere.json: no such file") {
		t.Errorf("exit %d\n%s", code, stderr)
	}
}

func TestSendSumsUpWhenItIsInterrupted(t *testing.T) {
	t.Parallel()
	r := newRelayStub(t, nil)
	c := start(t, "", "send", "--to", r.URL, "-n", "1000000", "--rate", "200", "--concurrency", "2", "-o", "json")
	until(t, "some were sent and answered", func() bool { return len(r.all()) > 5 }) // two of them may not be answered yet
	c.interrupt()
	code := c.wait()
	got := parse[sum](t, c.stdout.String())
	if code != 0 || got.Sent == 0 || got.Failed != 0 || got.Sent+got.Unfinished != 1000000 {
		t.Errorf("exit %d: %+v", code, got)
	}
}

func TestSendWorksWithTheDocumentedSample(t *testing.T) {
	t.Parallel()
	_, public := serve(t, anyPort(""))
	file := write(t, "callback.json",
		`{"type":"express_sub_msg","data":[{"waybill_code":"777005949070187","cp_code":"sto",`+
			`"status":"delivering","data":[]}]}`)
	for range 2 {
		until(t, "the relay takes it", func() bool { // a busy machine may refuse it, and then the provider sends it again
			code, got := send(t, "http://"+public+"/callback/callback-token", file)
			if code != 0 && got.Failures["503 Service Unavailable"] != 1 {
				t.Fatalf("exit %d: %+v", code, got)
			}
			return code == 0 && got.Accepted == 1
		})
	}
}
