package main

import (
	"fmt"
	"net/http"
	"time"
)

var endpointRows = []row{
	{name: "endpoint-refuses", fault: "endpoint refuses", does: "one of three endpoints refuses connections",
		run: func(s *stage) {
			e := s.endpoints[0]
			s.result.repeated = inFlight // what it had taken when it was cut off, and not answered yet
			s.sick(e.close, func() { s.must(e.open(s.ctx)) })
		}},
	{name: "endpoint-errs", fault: "endpoint errs", does: "one of three endpoints answers 500", run: func(s *stage) {
		s.behaves(func(w http.ResponseWriter, _ *http.Request, _ update, _ func() int) {
			w.WriteHeader(http.StatusInternalServerError)
		})
	}},
	{name: "endpoint-hangs", fault: "endpoint hangs", does: "one of three endpoints takes requests and never answers",
		run: func(s *stage) {
			s.behaves(func(_ http.ResponseWriter, req *http.Request, _ update, _ func() int) { <-req.Context().Done() })
		}},
	{name: "endpoint-drips", fault: "endpoint answers slowly for ever",
		does: "one of three endpoints sends its answer's head byte by byte, without an end", run: func(s *stage) {
			s.behaves(drip)
		}},
	{name: "endpoint-huge", fault: "endpoint answers with a huge body",
		does: "one of three endpoints answers 500 with a body without an end", run: func(s *stage) {
			s.behaves(huge)
		}},
	{name: "endpoint-flaky", fault: "endpoint errs at random", does: "each endpoint answers one request in five with 500",
		run: func(s *stage) {
			s.push(s.relay(relayOptions{redis: s.redis().URL()}))
			for _, e := range s.endpoints {
				e.behave(s.flaky())
			}
			s.more(s.kills * 25)
			s.finish(1, 0)
		}},
	{name: "egress", fault: "endpoint resolves to a forbidden address",
		does: "a fourth endpoint is at localhost, 127.0.0.1, and the config allows 127.0.0.2 alone", run: egress},
}

// egress has a fourth endpoint, on an address that the config does not allow. What it is owed becomes a dead letter,
// and it hears nothing.
func egress(s *stage) {
	const name = "mail/forbidden"
	e, err := newEndpoint(s.ctx, s.check, name, "", "127.0.0.1:0")
	s.must(err)
	s.cleanup(e.close)
	e.host = "localhost" // a name: an address that is forbidden would be refused at start
	own := s.endpoints
	s.endpoints = append(s.endpoints, e)
	r := s.relay(relayOptions{redis: s.redis().URL()})
	s.endpoints = own // nothing may come to the fourth: what did would be misrouted
	s.push(r)
	s.more(s.kills * 25)
	s.dead = name
	s.finish(1, 0)
	s.figure("%.0f dead letters there, %d requests",
		r.metric("kuairelay_queue_depth", `state="dead"`, `endpoint="`+name+`"`), e.requests.Load())
	if dead := r.metric("kuairelay_queue_depth", `state="dead"`, `endpoint="`+name+`"`); int(dead) < s.check.count() {
		s.failf("%.0f dead letters of %d events", dead, s.check.count())
	}
	if n := r.metric("kuairelay_deliveries_total", `outcome="dead"`) - r.metric("kuairelay_deliveries_total",
		`outcome="dead"`, `endpoint="`+name+`"`); n > 0 {
		s.failf("%.0f deliveries of others were given up", n)
	}
}

// drip sends a byte of an answer that never gets whole, as long as the other side listens.
func drip(w http.ResponseWriter, req *http.Request, _ update, _ func() int) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	for text := "HTTP/1.1 200 OK\r\nx-slow: "; ; text = "z" {
		if _, err := c.Write([]byte(text)); err != nil || sleep(req.Context(), 100*time.Millisecond) != nil {
			return
		}
	}
}

// huge sends as much as the other side takes.
func huge(w http.ResponseWriter, _ *http.Request, _ update, _ func() int) {
	w.WriteHeader(http.StatusInternalServerError)
	for block := make([]byte, 64<<10); ; {
		if _, err := w.Write(block); err != nil {
			return
		}
	}
}

// flaky refuses one request in five.
func (s *stage) flaky() answerer {
	draw := make(chan int, 1)
	draw <- 0
	return func(w http.ResponseWriter, _ *http.Request, _ update, take func() int) {
		n := <-draw
		draw <- n + 1
		if n%5 == 2 {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		take()
	}
}

// behaves makes the first endpoint sick by what it answers.
func (s *stage) behaves(a answerer) {
	s.sick(func() { s.endpoints[0].behave(a) }, func() { s.endpoints[0].behave(nil) })
}

// sick is a fault of the first endpoint: the two others must go on as before, and nothing of its own may be lost, given
// up or out of order when it is well again.
func (s *stage) sick(begin, end func()) {
	e := s.endpoints[0]
	r := s.relay(relayOptions{redis: s.redis().URL()})
	s.push(r)
	s.more(100)
	s.load.phase()
	attempts := r.metric("kuairelay_attempts_total", `endpoint="`+e.name+`"`)
	begin()
	s.wait(s.lasts)
	before, others := s.check.firsts(e.name), s.check.firsts("")-s.check.firsts(e.name)
	s.more(100)
	s.await("the others go on", func() error {
		if n := s.check.firsts("") - s.check.firsts(e.name) - others; n < 50 {
			return fmt.Errorf("%d arrive there", n)
		}
		return nil
	})
	if s.check.firsts(e.name) > before {
		s.failf("%s takes something, and should not", e.name)
	}
	s.result.during = s.load.phase()
	attempts = r.metric("kuairelay_attempts_total", `endpoint="`+e.name+`"`) - attempts
	s.figure("%.0f attempts at it meanwhile, %d open, relay %.0f MB", attempts, s.check.missing(), r.memory()/1e6)
	end()
	s.result.resumed = s.resumesAt(e)
	s.finish(1, 0)
}

// resumesAt waits until something arrives at an endpoint.
func (s *stage) resumesAt(e *endpoint) time.Duration {
	before := s.check.firsts(e.name)
	return s.await("its deliveries resume", func() error {
		if s.check.firsts(e.name) == before {
			return fmt.Errorf("nothing arrives at %s", e.name)
		}
		return nil
	})
}
