package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// proxy stands between a relay and its Redis, refuses what is asked, and spoils what comes back.
type proxy struct {
	addr   string
	target string
	// delay holds up every reply, in nanoseconds.
	delay atomic.Int64
	// lose is how many of a thousand replies are lost although Redis has run the command: in turn, the connection is cut,
	// or stays open and says nothing more.
	lose atomic.Int64
	lost atomic.Int64
	// refusal is what every script is answered; empty: Redis runs it.
	refusal atomic.Value
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
		go p.requests(in, out)
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

// refuse has all scripts answered with an error, or run again if it is empty.
func (p *proxy) refuse(text string) { p.refusal.Store(text) }

// requests hands on requests, one by one, until either end is closed. In the place of a script that is refused, Redis
// gets one that returns the error, so that the replies keep their order.
func (p *proxy) requests(from, to net.Conn) {
	defer p.end(from, to)
	r := bufio.NewReaderSize(from, 64<<10)
	for {
		request, command, err := readRequest(r)
		if err != nil {
			return
		}
		if text, _ := p.refusal.Load().(string); text != "" && (command == "eval" || command == "evalsha") {
			script := "return redis.error_reply(ARGV[1])"
			request = fmt.Appendf(nil, "*4\r\n$4\r\nEVAL\r\n$%d\r\n%s\r\n$1\r\n0\r\n$%d\r\n%s\r\n",
				len(script), script, len(text), text)
		}
		if _, err := to.Write(request); err != nil {
			return
		}
	}
}

// readRequest reads one request: an array of bulk strings. The command is its first, in small letters.
func readRequest(r *bufio.Reader) (request []byte, command string, err error) {
	number := func(mark byte) (n int, err error) {
		line, err := r.ReadBytes('\n')
		if err != nil || len(line) < 4 || line[0] != mark {
			return 0, cmp.Or(err, errors.New("no request of Redis"))
		}
		request = append(request, line...)
		return strconv.Atoi(string(line[1 : len(line)-2]))
	}
	parts, err := number('*')
	for i := 0; i < parts && err == nil; i++ {
		var size int
		if size, err = number('$'); err != nil {
			break
		}
		began := len(request)
		request = append(request, make([]byte, size+2)...)
		_, err = io.ReadFull(r, request[began:])
		if i == 0 {
			command = strings.ToLower(string(request[began : began+size]))
		}
	}
	return request, command, err
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
