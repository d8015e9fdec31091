package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	// sendMost is how long a message may take, with the time that it waits for its turn.
	sendMost = 20 * time.Second
	// requestMost is how long a request may take.
	requestMost = 8 * time.Second
	// answerMost is how much of an answer is read.
	answerMost = 4 << 10
	// paceShare is which part of the time between two looks has to pass between two messages to one address: 3.75 s, for
	// WeCom and DingTalk take 20 a minute of a robot, whoever sends them.
	paceShare = 4
	// backoffMost bounds the pauses between messages that fail, and pauseMost those that a receiver asks for.
	backoffMost = 10 * time.Minute
	pauseMost   = time.Hour
	// limitedPause is the pause after an answer that there were too many: DingTalk takes nothing for so long.
	limitedPause = 10 * time.Minute
)

// refusal is why a receiver did not take a message. Its text has no secret in it.
type refusal struct {
	why   string
	pause time.Duration // 0: it asks for none
}

func (r *refusal) Error() string { return r.why }

// send sends a message, and notes what came of it.
func (n *Notifier) send(ctx context.Context, r *receiver, m message) error {
	ctx, cancel := context.WithTimeout(ctx, sendMost)
	defer cancel()
	err := n.sendAll(ctx, &m)
	if err != nil && ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled) {
		return err // the relay stops
	}

	result := resultSent
	log := []zap.Field{zap.String("receiver", r.Name), zap.String("format", string(r.Format)),
		zap.String("host", hostOf(r.URL))}
	n.mu.Lock()
	again := false
	if err == nil {
		r.failures, r.next, r.since, r.why = 0, time.Time{}, time.Time{}, ""
	} else {
		result = resultFailed
		again = r.why == err.Error()
		now := n.o.Now()
		if r.failures == 0 {
			r.since = now
		}
		r.failures++
		r.why = err.Error()
		r.next = now.Add(n.pauseAfter(r.failures, err))
	}
	n.mu.Unlock()

	n.sent.WithLabelValues(string(r.Format), result).Inc()
	switch {
	case err == nil:
		n.o.Logger.Info("notice sent", append(log, zap.Int("opened", len(m.opened)), zap.Int("over", len(m.over)),
			zap.Bool("test", m.test))...)
	case !again:
		n.o.Logger.Warn("notice not sent: it is tried again while it is due", append(log, zap.String("why", err.Error()))...)
	}
	return err
}

// pauseAfter is the pause after so many failures in a row, the last with an error.
func (n *Notifier) pauseAfter(failures int, err error) time.Duration {
	pause := n.o.Look
	for range min(failures-1, 20) {
		pause = min(2*pause, backoffMost)
	}
	if refused, ok := errors.AsType[*refusal](err); ok {
		pause = max(pause, min(refused.pause, pauseMost))
	}
	return pause
}

// sendAll makes the requests of a message, one after the other.
func (n *Notifier) sendAll(ctx context.Context, m *message) error {
	posts, err := n.posts(m, n.o.Now())
	if err != nil {
		return err
	}
	for i := range posts {
		if err := n.pace.wait(ctx, m.receiver.URL); err != nil {
			return &refusal{why: "no turn in time: too many messages go there"}
		}
		if err := n.request(ctx, m.receiver, &posts[i]); err != nil {
			return err
		}
	}
	return nil
}

// request makes one request, and reads the answer.
func (n *Notifier) request(ctx context.Context, r *Receiver, p *post) error {
	ctx, cancel := context.WithTimeout(ctx, requestMost)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(p.body))
	if err != nil {
		return &refusal{why: "its address is no URL"} // the error has it
	}
	for name, values := range p.header {
		request.Header[name] = values
	}
	request.Header.Set("Content-Type", "application/json; charset=utf-8")
	request.Header.Set("User-Agent", n.o.UserAgent)

	answer, err := r.Client.Do(request)
	if err != nil {
		return &refusal{why: whyNot(err)}
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(answer.Body, answerMost))
	if err != nil {
		return &refusal{why: whyNot(err)}
	}
	return verdict(r, answer, body)
}

// whyNot is an error of a request without the address, which is a secret.
func whyNot(err error) string {
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return "no answer in time"
	}
	if of, ok := errors.AsType[*url.Error](err); ok {
		err = of.Err
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return "the name of its host cannot be resolved: " + dns.Err
	}
	return err.Error()
}

// verdict is the error of an answer, nil if the message was taken.
func verdict(r *Receiver, answer *http.Response, body []byte) error {
	if answer.StatusCode/100 != 2 {
		out := &refusal{why: fmt.Sprintf("it answers %d", answer.StatusCode)}
		if text := r.quote(string(body)); text != "" && r.Format == Slack {
			out.why += ": " + text // as in 403 invalid_token, 404 no_service
		}
		if answer.StatusCode == http.StatusTooManyRequests {
			seconds, _ := strconv.Atoi(answer.Header.Get("Retry-After"))
			out.pause = max(time.Minute, time.Duration(min(seconds, int(pauseMost.Seconds())))*time.Second)
		}
		return out
	}
	switch r.Format {
	case WeCom, DingTalk, Feishu:
		return r.codeOf(body)
	}
	return nil
}

// codes are the answers of WeCom, DingTalk and Feishu whose cause is known; all come with status 200.
var codes = map[Format]map[int]refusal{
	WeCom: {
		93000: {why: "the key in its address is wrong, or the robot was removed"},
		45009: {why: "it got too many messages", pause: time.Minute},
	},
	DingTalk: {
		310000: {why: "its security settings refuse the message: the secret is wrong, or a keyword or address is asked for"},
		300005: {why: "the access_token in its address is wrong, or the robot was removed"},
		130101: {why: "it got too many messages", pause: limitedPause},
		660026: {why: "it got too many messages", pause: limitedPause},
	},
	Feishu: {
		19001: {why: "the end of its address is wrong, or the bot was removed"},
		19021: {why: "the secret is wrong, or the clock of this machine is"},
		19022: {why: "it allows other addresses only"},
		19024: {why: "it asks for a keyword that the message has not: kuairelay is in all"},
		9499:  {why: "it got too many messages, or one in a wrong form", pause: time.Minute},
		11232: {why: "it got too many messages", pause: time.Minute},
	},
}

// codeOf reads the code in an answer; 0 says that the message was taken.
func (r *Receiver) codeOf(body []byte) error {
	var answer struct {
		ErrCode    *int   `json:"errcode"`
		ErrMsg     string `json:"errmsg"`
		Code       *int   `json:"code"`
		Msg        string `json:"msg"`
		StatusCode *int   // of older versions of Feishu
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return &refusal{why: "its answer is no JSON: the address is that of something else"}
	}

	code, msg := answer.ErrCode, answer.ErrMsg
	if r.Format == Feishu {
		code, msg = answer.Code, answer.Msg
		if code == nil {
			code = answer.StatusCode
		}
	}
	switch {
	case code == nil:
		return &refusal{why: "its answer has no code: the address is that of something else"}
	case *code == 0:
		return nil
	}

	if known, ok := codes[r.Format][*code]; ok {
		return &refusal{why: fmt.Sprintf("it answers code %d: %s", *code, known.why), pause: known.pause}
	}
	out := &refusal{why: fmt.Sprintf("it answers code %d", *code)}
	if text := r.quote(msg); text != "" {
		out.why += ": " + text
	}
	return out
}

// quote is what a receiver answered, as it may be shown: nothing if it may repeat a part of a secret.
func (r *Receiver) quote(text string) string {
	const most, part = 120, 8 // bytes
	address := strings.FieldsFunc(r.URL, func(c rune) bool { return strings.ContainsRune("/?&=.:", c) })
	for _, secret := range append(address, r.Secret) {
		if len(secret) >= part && strings.Contains(text, secret) && !strings.Contains(hostOf(r.URL), secret) {
			return ""
		}
	}
	return cut(numbersIn.ReplaceAllStringFunc(harmless(strings.TrimSpace(text)), shorten), most)
}

// hostOf is the host of an address, without what is secret in it.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// pace keeps the messages to one address apart, whichever receivers have it.
type pace struct {
	least time.Duration // between two of them

	mu   sync.Mutex
	next map[string]time.Time // when the next message to an address may begin
}

// wait waits for the turn of a message to an address.
func (p *pace) wait(ctx context.Context, address string) error {
	p.mu.Lock()
	now := time.Now()
	for other, at := range p.next {
		if !at.After(now) {
			delete(p.next, other)
		}
	}
	if p.next == nil {
		p.next = make(map[string]time.Time)
	}
	at := now
	if next := p.next[address]; next.After(now) {
		at = next
	}
	if deadline, ok := ctx.Deadline(); ok && at.After(deadline.Add(-requestMost)) {
		p.mu.Unlock()
		return context.DeadlineExceeded
	}
	p.next[address] = at.Add(p.least)
	p.mu.Unlock()

	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Until(at)):
		return nil
	}
}
