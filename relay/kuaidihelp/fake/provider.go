package fake

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"kuairelay/relay/kuaidihelp"
)

// Call is one call to a Provider.
type Call struct {
	Method string
	CPCode string   // of MethodSubscribe and MethodQuery; the latter may have none
	Codes  []string // of the same
	Data   string   // as it came
}

// Reply says how a Provider answers a call.
type Reply struct {
	// Code and Msg of the envelope. With a Code other than 0, nothing is subscribed.
	Code int
	Msg  string
	// Status is the HTTP status, if it is not 200. There is then no envelope, and nothing is subscribed.
	Status int
	// Lost: the Provider does what was asked for, but cuts the connection without an answer.
	Lost bool

	data any // of the envelope
}

// Options of a Provider. A zero field means its default.
type Options struct {
	// AppID and APIKey of the only account.
	AppID, APIKey string
	// Window is the largest difference between a ts and the time here. Default 10 min.
	Window time.Duration
	// Decide gives the reply to a correct call. It may take its time. Nil: every call succeeds.
	Decide func(Call) Reply
	// Subscribed is called with each waybill of a successful call, before the answer: the real provider may push that
	// early too.
	Subscribed func(cpCode, code string)
	// Callback is the address that Run pushes to; Pause is between two updates of a parcel. Default 100 ms.
	Callback string
	Pause    time.Duration
	// Scenario says what happens to a parcel when it is subscribed. Nil: Plain to each.
	Scenario func(code string) Scenario
	// OnCall is told of each call whose signature was right, and OnPush of each update that Run pushes, and of those that
	// are lost on the way (answer is empty). Nil: nobody is.
	OnCall func(Call, Reply)
	OnPush func(item Item, answer string)
}

// Provider simulates the provider's API. It checks calls as the real one does, and Run pushes what was subscribed.
type Provider struct {
	o       Options
	parcels *Parcels
	client  *http.Client // pushes

	mu         sync.Mutex
	calls      []Call
	subscribed map[[2]string]bool
	underWay   []*Parcel
	latest     map[string]Item // of each parcel that has moved, by its waybill code
	unscanned  map[string]int  // how many more calls have no record of a parcel that plays NoRecord
	playing    map[string]Scenario
}

// NewProvider makes a Provider. It is an http.Handler.
func NewProvider(o Options) *Provider {
	if o.Window == 0 {
		o.Window = 10 * time.Minute
	}
	if o.Pause == 0 {
		o.Pause = 100 * time.Millisecond
	}
	return &Provider{
		o:          o,
		parcels:    NewParcels(1, nil),
		client:     kuaidihelp.NewHTTP(4),
		subscribed: map[[2]string]bool{},
		latest:     map[string]Item{},
		unscanned:  map[string]int{},
		playing:    map[string]Scenario{},
	}
}

// Calls lists the calls so far whose signature was right.
func (p *Provider) Calls() []Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.calls)
}

// HasSubscribed says whether a waybill is subscribed. The brand is taken as it was sent.
func (p *Provider) HasSubscribed(cpCode, code string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.subscribed[[2]string{cpCode, code}]
}

// ServeHTTP answers a call in the provider's envelope.
func (p *Provider) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	reply := p.answer(req)
	if reply.Lost {
		panic(http.ErrAbortHandler)
	}
	if reply.Status != 0 && reply.Status != http.StatusOK {
		http.Error(w, http.StatusText(reply.Status), reply.Status)
		return
	}
	p.mu.Lock()
	uid := fmt.Sprintf("%032x%08d", len(p.calls), 0)
	p.mu.Unlock()
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if reply.data == nil {
		reply.data = struct{}{}
	}
	_ = json.NewEncoder(w).Encode(struct {
		Code int    `json:"code"`
		Msg  string `json:"msg"`
		Data any    `json:"data"`
		UID  string `json:"uid"`
	}{Code: reply.Code, Msg: reply.Msg, Data: reply.data, UID: uid})
}

// answer checks a call in the order of the real provider's codes, and carries it out.
func (p *Provider) answer(req *http.Request) Reply {
	if req.Method != http.MethodPost || req.ParseForm() != nil {
		return Reply{Code: kuaidihelp.CodeIllegalRequest, Msg: "非法请求"}
	}
	f := req.PostForm
	appID, method, ts, data := f.Get("app_id"), f.Get("method"), f.Get("ts"), f.Get("data")
	n, err := strconv.ParseFloat(ts, 64)
	if len(ts) == 13 {
		n /= 1000
	}
	switch {
	case appID == "" || ts == "" || f.Get("sign") == "":
		return Reply{Code: kuaidihelp.CodeBadAuth, Msg: "鉴权参数错误"}
	case err != nil || math.Abs(float64(time.Now().Unix())-n) > p.o.Window.Seconds():
		return Reply{Code: kuaidihelp.CodeExpired, Msg: "签名已过期"}
	case appID != p.o.AppID || f.Get("sign") != kuaidihelp.Sign(appID, method, ts, p.o.APIKey):
		return Reply{Code: kuaidihelp.CodeAuthFailed, Msg: "鉴权失败"}
	}
	call := Call{Method: method, Data: data}
	reply := p.do(&call)
	if p.o.OnCall != nil {
		p.o.OnCall(call, reply)
	}
	return reply
}

// do carries out a call with the right signature.
func (p *Provider) do(call *Call) Reply {
	if call.Method == kuaidihelp.MethodSubscribe || call.Method == kuaidihelp.MethodQuery {
		var d struct {
			Codes  string `json:"waybill_codes"`
			CPCode string `json:"cp_code"`
		}
		if json.Unmarshal([]byte(call.Data), &d) != nil || d.Codes == "" {
			return Reply{Code: kuaidihelp.CodeBadParameters, Msg: "请求参数错误"}
		}
		call.CPCode = d.CPCode
		call.Codes = strings.Split(d.Codes, ",")
	}

	p.mu.Lock()
	p.calls = append(p.calls, *call)
	p.mu.Unlock()

	// Refuse what the real provider refuses, before asking Decide.
	var reply Reply
	switch {
	case len(call.Codes) > kuaidihelp.MaxPerCall:
		return Reply{Code: kuaidihelp.CodeBadParameters, Msg: "请求参数错误"}
	case !takesBrand(*call):
		return Reply{Code: kuaidihelp.CodeUnknownBrand, Msg: "不支持的快递品牌"}
	case call.Method == kuaidihelp.MethodSubscribe && p.noRecord(call.Codes):
		return Reply{Code: kuaidihelp.CodeNoRecord, Msg: "查询暂无记录"}
	case p.o.Decide != nil:
		reply = p.o.Decide(*call)
	}

	if reply.Code == 0 && reply.Status == 0 {
		if call.Method == kuaidihelp.MethodQuery {
			reply.data = p.query(*call)
		} else {
			p.subscribe(*call)
		}
		reply.Msg = "成功"
	}
	return reply
}

// takesBrand says whether a call names a brand that its method knows. A query may name none.
func takesBrand(call Call) bool {
	switch call.Method {
	case kuaidihelp.MethodSubscribe:
		return slices.Contains(kuaidihelp.Brands(), call.CPCode)
	case kuaidihelp.MethodQuery:
		return call.CPCode == "" || slices.Contains(kuaidihelp.Brands(), call.CPCode)
	}
	return true
}

// query answers how waybills stand: the latest update of each, pushed or not. Those without one are left out.
func (p *Provider) query(call Call) []wire {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := []wire{}
	for _, code := range call.Codes {
		if item, ok := p.latest[code]; ok && (call.CPCode == "" || item.CPCode == call.CPCode) {
			found = append(found, item.wire())
		}
	}
	return found
}

// Move notes an update of a parcel, which a query has from now on. Run does it with those that it pushes.
func (p *Provider) Move(item Item) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latest[item.WaybillCode] = item
}

// subscribe notes the waybills of a call. From now on, new ones have updates.
func (p *Provider) subscribe(call Call) {
	for _, code := range call.Codes {
		p.mu.Lock()
		known := p.subscribed[[2]string{call.CPCode, code}]
		p.subscribed[[2]string{call.CPCode, code}] = true
		if !known && p.o.Callback != "" {
			parcel := p.parcels.Of(call.CPCode, code)
			parcel.play(p.scenarioOf(code))
			p.underWay = append(p.underWay, parcel)
		}
		p.mu.Unlock()
		if p.o.Subscribed != nil {
			p.o.Subscribed(call.CPCode, code)
		}
	}
}

// Run pushes the updates of subscribed parcels to Options.Callback, until they are signed for. Each push has another
// encoding. It repeats a push at most three times, until the answer is success. It returns nil when ctx is cancelled.
func (p *Provider) Run(ctx context.Context) error {
	encodings := Encodings()
	pushed := 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(p.o.Pause):
		}

		p.mu.Lock()
		p.underWay = slices.DeleteFunc(p.underWay, (*Parcel).Signed)
		var items []Item
		for _, parcel := range p.underWay {
			items = append(items, parcel.Next())
		}
		p.mu.Unlock()

		for _, item := range items {
			p.Move(item)
			if p.loses(item) {
				p.pushed(item, "")
				continue
			}
			p.push(ctx, encodings[pushed%len(encodings)], item)
			pushed++
		}
	}
}

// push pushes one update, until the answer is success.
func (p *Provider) push(ctx context.Context, encoding string, item Item) {
	contentType, body, err := Encode(encoding, []Item{item})
	if err != nil {
		panic(err) // the encoding is one of ours
	}
	const repeats = 3
	for range 1 + repeats {
		status, answer, err := Push(ctx, p.client, p.o.Callback, contentType, body)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			answer = err.Error()
		} else if status != http.StatusOK {
			answer = fmt.Sprintf("%d %s", status, answer)
		}
		p.pushed(item, answer)
		if answer == "success" {
			return
		}
	}
}
