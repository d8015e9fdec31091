package db

import (
	"net"
	"sync"
)

// pipe is a connection whose Write never waits. An embedded Redis is behind a net.Pipe, which has no buffer. It answers
// the beginning of a long pipeline while the rest is still being written: without the buffer, each side would wait for
// the other to read.
type pipe struct {
	net.Conn

	mu      sync.Mutex
	unsent  []byte
	sending bool
	err     error // of the last write; there are none behind it
}

// Write takes all of b. An error shows at the next Write, and in that no answer comes.
func (p *pipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return 0, p.err
	}
	p.unsent = append(p.unsent, b...)
	if !p.sending {
		p.sending = true
		go p.send()
	}
	return len(b), nil
}

// send ends when all is sent, or the connection is closed.
func (p *pipe) send() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.unsent) > 0 && p.err == nil {
		part := p.unsent
		p.unsent = nil
		p.mu.Unlock()
		_, err := p.Conn.Write(part)
		p.mu.Lock()
		p.err = err
	}
	p.sending = false
}
