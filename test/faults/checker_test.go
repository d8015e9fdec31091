package main

import (
	"cmp"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	webhook "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// planted is what a sender does to one of ten deliveries, and what the checker has to say then.
var planted = map[string]struct {
	send func(*sender)
	want string // "" if nothing is wrong
}{
	"nothing":                {func(s *sender) { s.all() }, ""},
	"a loss":                 {func(s *sender) { s.to(all, 1, 2, 3, 4, 5); s.to(zt, 1, 2, 4) }, "lost: 2 deliveries"},
	"nothing at all":         {func(*sender) {}, "lost: 10 deliveries"},
	"a repetition too many":  {func(s *sender) { s.all(); s.to(zt, 2); s.to(all, 2) }, "repeated: 2"},
	"a repetition, in order": {func(s *sender) { s.all(); s.to(zt, 2) }, ""},
	"a swap":                 {func(s *sender) { s.to(all, 1, 2, 3, 4, 5); s.to(zt, 1, 3, 2, 4, 5) }, "out of order: 1"},
	"the last one first":     {func(s *sender) { s.to(all, 1, 2, 3, 4, 5); s.to(zt, 5, 1, 2, 3, 4) }, "out of order: 4"},
	"a sequence that falls": {func(s *sender) {
		s.sequence = func(n int) int { return 100 - n }
		s.all()
	}, "out of order: 8"},
	"a sequence that stays": {func(s *sender) { s.sequence = func(int) int { return 7 }; s.all() }, "out of order: 8"},
	"no sequence":           {func(s *sender) { s.sequence = func(int) int { return 0 }; s.all() }, "out of order: 10"},
	"another secret": {func(s *sender) {
		s.all()
		s.secret = "whsec_" + strings.Repeat("A", 32)
		s.to(zt, 1)
	}, "unsigned: 1"},
	"no signature": {func(s *sender) { s.all(); s.strip = "webhook-signature"; s.to(zt, 1) }, "unsigned: 1"},
	"a body that was changed": {func(s *sender) {
		s.all()
		s.tamper = true
		s.to(zt, 1)
	}, "unsigned: 1"},
	"another brand's endpoint": {func(s *sender) { s.all(); s.to(sto, 1) }, "misrouted: 1"},
	"what nobody pushed":       {func(s *sender) { s.all(); s.to(zt, 6) }, "misrouted: 1"},
	"no event at all": {func(s *sender) {
		s.all()
		s.body = func(int) string { return `{"data":{}}` }
		s.to(zt, 1)
	}, "misrouted: 1"},
	"an item written anew": {func(s *sender) {
		s.to(all, 1, 2, 3, 4, 5)
		s.body = func(n int) string {
			return fmt.Sprintf(`{"data":{"waybill_code":"zt1","cp_code":"zt","status":"sending","n":%d}}`, n)
		}
		s.to(zt, 1, 2, 3, 4, 5)
	}, "altered: 5"},
	"an id that changes": {func(s *sender) {
		s.to(all, 1, 2, 3, 4, 5)
		s.id = "evt_other"
		s.to(zt, 1, 2, 3, 4, 5)
	}, "altered: 5"},
	"an id of two events":       {func(s *sender) { s.sameID = true; s.all() }, "altered: 8"},
	"what was never answered":   {func(s *sender) { s.all(); s.check.pushing([]update{{"zt1", 6}}); s.to(zt, 6) }, ""},
	"what was answered success": {func(s *sender) { s.all(); s.acknowledge(6); s.to(zt, 6) }, "lost: 1"},
}

func TestTheCheckerFindsWhatIsPlanted(t *testing.T) {
	t.Parallel()
	for name, c := range planted {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSender(t)
			s.acknowledge(1, 2, 3, 4, 5)
			c.send(s)
			err := s.check.verdict().judge(1)
			if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("one thing was planted, and more was found: %v", err)
			}
		})
	}
}

const all, zt, sto = "shop/all", "shop/zt", "mail/sto"

// sender plays a relay, good or bad, to real endpoints.
type sender struct {
	t         *testing.T
	check     *checker
	endpoints map[string]*endpoint

	secret   string // instead of the endpoint's own
	strip    string // a header
	tamper   bool
	id       string
	sameID   bool
	sequence func(n int) int
	body     func(n int) string
}

func newSender(t *testing.T) *sender {
	s := &sender{t: t, endpoints: map[string]*endpoint{}}
	s.check = newChecker(func(name, brand string) bool {
		e := s.endpoints[name]
		return e != nil && (e.brand == "" || e.brand == brand)
	})
	for name, brand := range map[string]string{all: "", zt: "zt", sto: "sto"} {
		e, err := newEndpoint(t.Context(), s.check, name, brand, "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.close)
		s.endpoints[name] = e
	}
	s.sequence = func(n int) int { return 100 + n }
	s.body = func(n int) string { return `{"type":"waybill.sending","data":` + update{"zt1", n}.item() + `}` }
	return s
}

func (s *sender) acknowledge(ns ...int) {
	for _, n := range ns {
		us := []update{{"zt1", n}}
		s.check.pushing(us)
		s.check.acknowledged(us)
	}
}

// all delivers as it should be.
func (s *sender) all() {
	s.to(all, 1, 2, 3, 4, 5)
	s.to(zt, 1, 2, 3, 4, 5)
}

// to sends updates of one waybill to one endpoint.
func (s *sender) to(name string, ns ...int) {
	secret := cmp.Or(s.secret, s.endpoints[name].secret)
	wh, err := webhook.NewWebhook(secret)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, n := range ns {
		id, body, now := fmt.Sprintf("evt_%s%d", s.id, n), s.body(n), time.Now()
		if s.sameID {
			id = "evt_same"
		}
		signature, err := wh.Sign(id, now, []byte(body))
		if err != nil {
			s.t.Fatal(err)
		}
		if s.tamper {
			body = strings.Replace(body, "sending", "signed", 1)
		}
		req := httptest.NewRequestWithContext(s.t.Context(), http.MethodPost, "/", strings.NewReader(body))
		req.Header.Set("webhook-id", id)
		req.Header.Set("webhook-timestamp", fmt.Sprint(now.Unix()))
		req.Header.Set("webhook-signature", signature)
		req.Header.Set("kuairelay-sequence", fmt.Sprint(s.sequence(n)))
		req.Header.Del(s.strip)
		s.endpoints[name].serve(httptest.NewRecorder(), req)
	}
}

// A retry of what was refused is no repetition, and what was only refused is lost.
func TestOnlyWhatWasTakenCounts(t *testing.T) {
	t.Parallel()
	s := newSender(t)
	s.acknowledge(1)
	s.endpoints[all].behave(func(w http.ResponseWriter, _ *http.Request, _ update, _ func() int) { w.WriteHeader(500) })
	s.to(all, 1, 1, 1)
	s.to(zt, 1)
	if f := s.check.verdict(); f.Lost != 1 || f.Repeated != 0 {
		t.Errorf("after three refusals: %+v", f)
	}
	s.endpoints[all].behave(nil)
	s.to(all, 1)
	if err := s.check.verdict().judge(0); err != nil {
		t.Error(err)
	}
}

func TestTheProxyShiftsTheTimeOfRedis(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"*2\r\n$10\r\n1795452584\r\n$6\r\n123456\r\n":       "*2\r\n$10\r\n1795452644\r\n$6\r\n123456\r\n",
		"*2\r\n$10\r\n1795452584\r\n$1\r\n7\r\n":            "*2\r\n$10\r\n1795452644\r\n$1\r\n7\r\n",
		"+OK\r\n":                                           "+OK\r\n",
		"*3\r\n$10\r\n1795452584\r\n$1\r\n7\r\n$1\r\n7\r\n": "*3\r\n$10\r\n1795452584\r\n$1\r\n7\r\n$1\r\n7\r\n",
	} {
		if got := string(shiftTime([]byte(in), 60)); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}
