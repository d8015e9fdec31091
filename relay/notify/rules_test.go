package notify

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

const lookEvery = 15 * time.Second

var noon = time.Date(2026, 12, 1, 4, 0, 0, 0, time.UTC)

// play tells a receiver of what it sees, look by look, and returns when it was told that something began, and is over.
type play struct {
	r     Receiver
	w     watch
	told  map[string]record
	now   time.Time
	sent  []time.Time
	kinds string // o: opened, e: over
}

func newPlay(every time.Duration) *play {
	return &play{r: Receiver{On: []string{"warning"}, Every: every}, w: watch{settle: settleLooks * lookEvery},
		told: make(map[string]record), now: noon}
}

// look looks once.
func (p *play) look(whole bool, problems ...Problem) {
	p.now = p.now.Add(lookEvery)
	p.w.look(p.now, problems, whole)
	m := message{at: p.now, before: make(map[string]time.Time)}
	m.opened, m.over = due(p.now, &p.r, &p.w, p.told)
	for _, o := range m.opened {
		m.before[o.key()] = p.told[o.key()].over
		p.kinds += "o"
		p.sent = append(p.sent, p.now)
	}
	for range m.over {
		p.kinds += "e"
		p.sent = append(p.sent, p.now)
	}
	for key, is := range m.records() {
		back, ok := readRecord(is.String())
		if !ok || back.String() != is.String() {
			panic(fmt.Sprintf("%+v is read as %+v", is, back))
		}
		p.told[key] = back
	}
}

var failing = Problem{Code: "endpoint_fails", Key: "shop/orders", Subject: "shop/orders", Severity: "warning",
	Since: noon, What: "its attempts fail"}

func TestAProblemIsToldOnceAndWhenItIsOver(t *testing.T) {
	t.Parallel()
	p := newPlay(30 * time.Minute)
	p.look(true)
	p.look(true, failing)
	if p.kinds != "" {
		t.Fatalf("it was told after one look: %q", p.kinds)
	}
	for range 100 {
		p.look(true, failing)
	}
	if p.kinds != "o" {
		t.Fatalf("after 25 minutes: %q", p.kinds)
	}

	p.look(true) // missed
	p.look(true, failing)
	for range 100 {
		p.look(false) // Redis does not answer
	}
	if p.kinds != "o" {
		t.Fatalf("a look that sees not everything says that it is over: %q", p.kinds)
	}
	for range settleLooks + 1 {
		p.look(true)
	}
	if p.kinds != "oe" {
		t.Errorf("after it was over: %q", p.kinds)
	}
	for range 1000 {
		p.look(true)
	}
	if p.kinds != "oe" {
		t.Errorf("long after it was over: %q", p.kinds)
	}
}

func TestAReceiverIsToldOnlyOfWhatItWants(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		on   []string
		want string
	}{
		{[]string{"warning"}, "o"}, {[]string{"critical"}, ""}, {[]string{"endpoint_fails"}, "o"},
		{[]string{"redis_down", "critical"}, ""}, {[]string{"all"}, "o"},
	} {
		p := newPlay(time.Minute)
		p.r.On = tt.on
		p.look(true, failing)
		p.look(true, failing)
		if p.kinds != tt.want {
			t.Errorf("%q: %q", tt.on, p.kinds)
		}
	}
}

// Whatever an endpoint does, in no span of `every` are there more than two messages, and each that it is over follows
// one that it fails. In the end the receiver knows how it stands.
func TestAnEndpointThatFlapsGivesAtMostTwoMessagesInASpan(t *testing.T) {
	t.Parallel()
	for seed := range uint64(25) {
		r := rand.New(rand.NewPCG(seed, 1))
		every := time.Duration(1+r.IntN(60)) * time.Minute
		p := newPlay(every)
		for range 2000 {
			span, is := 1+r.IntN(1+r.IntN(40)), r.IntN(2) == 0
			for range span {
				if is {
					p.look(r.IntN(20) > 0, failing)
				} else {
					p.look(r.IntN(20) > 0)
				}
			}
		}
		for i := 2; i < len(p.sent); i++ {
			if p.sent[i].Sub(p.sent[i-2]) < every {
				t.Fatalf("seed %d: three messages in %s, with every %s", seed, p.sent[i].Sub(p.sent[i-2]), every)
			}
		}
		for i, kind := range p.kinds {
			if (kind == 'o') != (i%2 == 0) {
				t.Fatalf("seed %d: %s", seed, p.kinds)
			}
		}
		if len(p.kinds) < 10 {
			t.Fatalf("seed %d: only %q: does it play?", seed, p.kinds)
		}
		for range int(2*every/lookEvery) + 10 {
			p.look(true)
		}
		if p.kinds[len(p.kinds)-1] != 'e' {
			t.Errorf("seed %d: it is over, and the receiver was not told: %s", seed, p.kinds)
		}
	}
}

// A replica that begins to tell has seen nothing yet.
func TestAReplicaThatTakesOverTellsOfNothingTwice(t *testing.T) {
	t.Parallel()
	p := newPlay(time.Minute)
	p.look(true, failing)
	p.look(true, failing)
	p.w = watch{settle: settleLooks * lookEvery}
	for range 3 {
		p.look(true)
	}
	if p.kinds != "o" {
		t.Errorf("it is over before anybody knows: %q", p.kinds)
	}
	for range 20 {
		p.look(false)
	}
	if p.kinds != "o" {
		t.Errorf("it is over, although not everything was seen: %q", p.kinds)
	}
	for range 20 {
		p.look(true, failing)
	}
	if p.kinds != "o" {
		t.Errorf("it was told again: %q", p.kinds)
	}
	for range 20 {
		p.look(true)
	}
	if p.kinds != "oe" {
		t.Errorf("%q", p.kinds)
	}
}
