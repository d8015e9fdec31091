package main

import (
	"context"
	"math/rand/v2"
	"net"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// proxy stands between a relay and its Redis, and spoils what comes back.
type proxy struct {
	addr   string
	target string
	// delay holds up every reply, in nanoseconds.
	delay atomic.Int64
	// lose is how many of a thousand replies are lost although Redis has run the command: in turn, the connection is cut,
	// or stays open and says nothing more.
	lose atomic.Int64
	lost atomic.Int64
	// shift is added to the time that Redis tells, in seconds: to the relay, the clock of Redis has been set.
	shift atomic.Int64

	listener net.Listener
	mu       sync.Mutex
	rand     *rand.Rand
	conns    map[net.Conn]bool
}

// proxy starts a proxy to an address.
func (s *stage) proxy(target string) *proxy {
	l, err := (&net.ListenConfig{}).Listen(s.ctx, "tcp", "127.0.0.1:0")
	s.must(err)
	p := &proxy{addr: l.Addr().String(), target: target, listener: l, rand: rand.New(rand.NewPCG(s.seed, 2)),
		conns: map[net.Conn]bool{}}
	s.cleanup(p.close)
	go p.run(s.ctx)
	return p
}

// url is the proxy as a Redis URL.
func (p *proxy) url() string { return "redis://" + p.addr }

func (p *proxy) run(ctx context.Context) {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		out, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.target)
		if err != nil {
			_ = in.Close()
			continue
		}
		p.mu.Lock()
		p.conns[in], p.conns[out] = true, true
		p.mu.Unlock()
		go p.copy(in, out, func(b []byte) []byte { return b })
		go p.copy(out, in, p.spoiler())
	}
}

// copy hands on what it reads until either end is closed. A chunk that change turns into nil ends both.
func (p *proxy) copy(from, to net.Conn, change func([]byte) []byte) {
	defer p.end(from, to)
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		chunk := change(buffer[:n])
		if chunk == nil {
			return
		}
		if _, err := to.Write(chunk); err != nil {
			return
		}
	}
}

func (p *proxy) end(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
		delete(p.conns, c)
	}
}

// spoiler is what happens to the replies of one connection.
func (p *proxy) spoiler() func([]byte) []byte {
	silent := false
	return func(chunk []byte) []byte {
		if d := p.delay.Load(); d > 0 {
			time.Sleep(time.Duration(d))
		}
		if !silent && p.losing() {
			if p.lost.Add(1)%2 == 0 {
				return nil
			}
			silent = true
		}
		if silent {
			return []byte{} // for good: what came next would be taken for the reply that was lost
		}
		if shift := p.shift.Load(); shift != 0 {
			chunk = shiftTime(chunk, shift)
		}
		return chunk
	}
}

func (p *proxy) losing() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rand.Int64N(1000) < p.lose.Load()
}

// timeReply is what Redis answers to TIME: seconds, and microseconds.
var timeReply = regexp.MustCompile(`\*2\r\n\$10\r\n(\d{10})\r\n\$[1-6]\r\n\d{1,6}\r\n`)

func shiftTime(chunk []byte, shift int64) []byte {
	at := timeReply.FindSubmatchIndex(chunk)
	if at == nil {
		return chunk
	}
	seconds, err := strconv.ParseInt(string(chunk[at[2]:at[3]]), 10, 64)
	if err != nil {
		return chunk
	}
	return append(strconv.AppendInt(append([]byte{}, chunk[:at[2]]...), seconds+shift, 10), chunk[at[3]:]...)
}

func (p *proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}
