package browser

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"
)

// actions are what checks can do, by the name that they say: await on.do('push', {…}). A new one is a line here.
func actions() map[string]action {
	return map[string]action{
		"push":      does(doPush),
		"provider":  does(doProvider),
		"answer":    does(doAnswer),
		"got":       does(doGot),
		"redis":     does(doRedis),
		"config":    does(doConfig),
		"relay":     does(doRelay),
		"clock":     does(doClock),
		"elsewhere": does(doElsewhere),
		"commands":  does(doCommands),
		"refused":   does(doRefused),
		"received":  does(doReceived),
		"spool":     does(doSpool),
		"fill":      does(doFill),
	}
}

// action does something on a stage, as a check asks in JSON, and gives what is answered in JSON.
type action func(s *stage, ask []byte) (any, error)

// does makes an action of a function that takes what is asked as a struct.
func does[T any](do func(*stage, T) (any, error)) action {
	return func(s *stage, raw []byte) (any, error) {
		var ask T
		if err := json.Unmarshal(raw, &ask); err != nil {
			return nil, err
		}
		return do(s, ask)
	}
}

// doPush pushes callbacks to a relay: of updates, or as they are. It gives the answers.
func doPush(s *stage, ask struct {
	Relay    int
	Updates  []update // each goes in a callback of its own, one after another
	Bodies   []string // callbacks as they are
	Type     string   // of Bodies; default application/json
	Together bool     // all updates in one callback
}) (any, error) {
	var items []string
	for _, u := range ask.Updates {
		items = append(items, u.item())
	}
	if ask.Together {
		items = []string{strings.Join(items, ",")}
	}
	for _, item := range items {
		ask.Bodies = append(ask.Bodies, `{"type":"express_sub_msg","data":[`+item+`]}`)
	}

	all := []said{}
	for _, body := range ask.Bodies {
		one, err := s.push(ask.Relay, cmp.Or(ask.Type, "application/json"), body)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

// said is what a relay answers to a callback.
type said struct {
	Status int    `json:"status"`
	Body   string `json:"body"`
}

func (s *stage) push(to int, kind, body string) (out said, err error) {
	url := s.relays[to].public + "/callback/" + callbackToken
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return out, err
	}
	req.Header.Set("Content-Type", kind)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return out, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return said{Status: resp.StatusCode, Body: string(text)}, err
}

// update is a waybill's. A zero field means its default.
type update struct {
	Waybill string
	Brand   string // default zt
	Status  string // default signed
	Context string // of its one track
	Time    string // of that; default now
}

func (u update) item() string {
	status := cmp.Or(u.Status, "signed")
	at := cmp.Or(u.Time, time.Now().Format(time.DateTime))
	track := map[string]string{"time": at, "context": u.Context, "status": status}
	text, _ := json.Marshal(map[string]any{ // never fails: all are texts
		"waybill_code": u.Waybill, "cp_code": cmp.Or(u.Brand, "zt"), "status": status, "data": []any{track},
	})
	return string(text)
}

// doAnswer tells a receiver what to answer from now on.
func doAnswer(s *stage, ask struct {
	Endpoint string
	answer
}) (any, error) {
	s.receivers.mu.Lock()
	defer s.receivers.mu.Unlock()
	s.receivers.answer[ask.Endpoint] = ask.answer
	return nil, nil
}

// doGot gives what a receiver got so far.
func doGot(s *stage, ask struct{ Endpoint string }) (any, error) {
	s.receivers.mu.Lock()
	defer s.receivers.mu.Unlock()
	return append([]received{}, s.receivers.got[ask.Endpoint]...), nil
}

// doRedis stops, starts or holds Redis, or sends it a command and gives the reply.
func doRedis(s *stage, ask struct {
	Do      string // stop, start, suspend, continue
	Command []string
}) (any, error) {
	switch ask.Do {
	case "stop":
		s.redis.Stop()
	case "start":
		return nil, s.redis.Restart()
	case "suspend":
		s.redis.Suspend()
	case "continue":
		s.redis.Continue()
	case "":
		return s.redis.Do(ask.Command...)
	default:
		return nil, fmt.Errorf("Redis cannot %s", ask.Do)
	}
	return nil, nil
}

// doCommands gives how many commands Redis has run so far, those of scripts too.
func doCommands(s *stage, _ struct{}) (any, error) { return s.redis.Calls() }

// doConfig changes the config of all relays and has them reload it. It gives the text as it is now, and the mistakes
// that the reload found; then the relays keep the one from before, until the text is mended.
func doConfig(s *stage, ask struct {
	Text    string    // the whole, but for what each relay has for itself
	Replace []string  // or: old and new text, several one after another
	Append  string    // or: further keys
	Only    *struct { // reload one relay alone
		Relay int
	}
}) (any, error) {
	text, err := s.change(ask.Text, ask.Replace, ask.Append)
	if err != nil {
		return nil, err
	}
	mistakes := []string{}
	for i, r := range s.relays {
		if ask.Only != nil && ask.Only.Relay != i {
			continue
		}
		if err := r.reload(); err != nil {
			mistakes = append(mistakes, err.Error())
		}
	}
	return map[string]any{"text": text, "mistakes": mistakes}, nil
}

// change changes the common part of the config, and returns it as it is then.
func (s *stage) change(whole string, replace []string, more string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := s.body
	if whole != "" {
		text = strings.ReplaceAll(whole, "RECEIVER", s.receivers.server.URL)
	}
	for i := 0; i+1 < len(replace); i += 2 {
		if !strings.Contains(text, replace[i]) {
			return "", fmt.Errorf("the config has no %q:\n%s", replace[i], text)
		}
		text = strings.ReplaceAll(text, replace[i], replace[i+1])
	}
	s.body = text + more
	return s.body, nil
}

// doRelay stops a relay in good order, or starts it again at the same addresses.
func doRelay(s *stage, ask struct {
	Relay int
	Do    string // stop, start, restart
}) (any, error) {
	r := s.relays[ask.Relay]
	switch ask.Do {
	case "stop":
		return nil, r.end()
	case "start":
		return nil, r.start()
	case "restart":
		if err := r.end(); err != nil {
			return nil, err
		}
		return nil, r.start()
	}
	return nil, fmt.Errorf("a relay cannot %q", ask.Do)
}

// doClock puts the clock of the relays forward. The sessions of pages follow it, and the store.
func doClock(s *stage, ask struct{ Minutes, Seconds int }) (any, error) {
	by := time.Duration(ask.Minutes)*time.Minute + time.Duration(ask.Seconds)*time.Second
	return s.ahead.Add(int64(by)), nil
}

// doElsewhere sets the page that another site has, and gives its addresses: another port of the relay's host, and
// another host.
func doElsewhere(s *stage, ask struct{ HTML string }) (any, error) {
	s.elsewhere.mu.Lock()
	defer s.elsewhere.mu.Unlock()
	s.elsewhere.page = ask.HTML
	own := s.elsewhere.server.URL
	return map[string]string{"port": own, "site": strings.Replace(own, "127.0.0.1", "elsewhere.test", 1)}, nil
}

// control is the server that checks ask. POST /stage makes a stage; POST /do/NAME with its number does an action; POST
// /end ends it.
type control struct {
	*httptest.Server
	t   *testing.T
	log *tail

	mu     sync.Mutex
	stages map[int]*stage
	made   int
}

func newControl(t *testing.T) *control {
	t.Helper()
	c := &control{t: t, log: &tail{}, stages: map[int]*stage{}}
	c.Server = httptest.NewServer(c)
	t.Cleanup(func() {
		c.Close()
		for _, s := range c.stages {
			s.close()
		}
		if t.Failed() {
			t.Logf("the end of what the relays logged:\n%s", c.log)
		}
	})
	return c
}

// ServeHTTP answers a check.
func (c *control) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	out, err := c.answer(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_ = json.NewEncoder(w).Encode(out)
}

func (c *control) answer(req *http.Request) (any, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	if req.URL.Path == "/stage" {
		ask := stageAsk{Relays: 2}
		if err := json.Unmarshal(body, &ask); err != nil {
			return nil, err
		}
		return c.open(ask)
	}

	var which struct{ Stage int }
	if err := json.Unmarshal(body, &which); err != nil {
		return nil, err
	}
	end := req.URL.Path == "/end"
	c.mu.Lock()
	s := c.stages[which.Stage]
	if end {
		delete(c.stages, which.Stage)
	}
	c.mu.Unlock()

	switch {
	case s == nil:
		return nil, errors.New("there is no such stage")
	case end:
		s.close()
		return nil, nil
	}
	name := strings.TrimPrefix(req.URL.Path, "/do/")
	do, ok := actions()[name]
	if !ok {
		return nil, fmt.Errorf("there is no action %q: see actions in control_test.go", name)
	}
	return do(s, body)
}

// open makes a stage, and says where everything is.
func (c *control) open(ask stageAsk) (any, error) {
	s, err := newStage(c.t.Context(), ask, zapcore.Lock(zapcore.AddSync(c.log)))
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made++
	c.stages[c.made] = s

	type listeners struct {
		Operator string `json:"operator"` // URL of the operator's pages, without a slash at the end
		Tenants  string `json:"tenants"`
	}
	type where struct {
		listeners
		Public string    `json:"public"` // URL of the listener
		TLS    listeners `json:"tls"`    // the pages behind a proxy that speaks TLS
	}
	var relays []where
	for _, r := range s.relays {
		relays = append(relays, where{
			listeners: listeners{Operator: r.admin, Tenants: r.public + "/console"},
			Public:    r.public,
			TLS:       listeners{Operator: r.tls["admin"], Tenants: r.tls["public"] + "/console"},
		})
	}
	return map[string]any{
		"stage":    c.made,
		"relays":   relays,
		"keys":     map[string]string{"operator": operatorKey, "shop": shopKey, "crm": crmKey},
		"callback": s.relays[0].public + "/callback/" + callbackToken,
		"receiver": s.receivers.server.URL,
		"redis":    s.redis.Addr,
	}, nil
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// mostLog is how much is kept, in bytes.
const mostLog = 16 << 10

func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	if len(l.text) > 2*mostLog {
		l.text = bytes.Clone(l.text[len(l.text)-mostLog:])
	}
	return len(p), nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}
