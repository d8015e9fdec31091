package fake

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"kuairelay/relay/kuaidihelp"
)

func TestTheProviderChecksACallAsTheRealOneDoes(t *testing.T) {
	t.Parallel()
	p := NewProvider(Options{AppID: "50001", APIKey: "key"})
	s := httptest.NewServer(p)
	t.Cleanup(s.Close)
	now := strconv.FormatInt(time.Now().Unix(), 10)
	millis := strconv.FormatInt(time.Now().UnixMilli(), 10)
	old := strconv.FormatInt(time.Now().Add(-time.Hour).Unix(), 10)
	call := func(ts, key, data string) url.Values {
		return url.Values{"app_id": {"50001"}, "method": {"express.sub.msg"}, "ts": {ts}, "data": {data},
			"sign": {kuaidihelp.Sign("50001", "express.sub.msg", ts, key)}}
	}
	const good = `{"waybill_codes":"1,2","cp_code":"zt"}`
	for name, c := range map[string]struct {
		form url.Values
		code int
	}{
		"good":            {call(now, "key", good), 0},
		"13 digits":       {call(millis, "key", good), 0},
		"wrong key":       {call(now, "another", good), 1006},
		"stale":           {call(old, "key", good), 1005},
		"no ts":           {url.Values{"app_id": {"50001"}}, 1004},
		"eleven waybills": {call(now, "key", `{"waybill_codes":"1,2,3,4,5,6,7,8,9,10,11","cp_code":"zt"}`), 201102},
		"no waybills":     {call(now, "key", `{"cp_code":"zt"}`), 201102},
		"unknown brand":   {call(now, "key", `{"waybill_codes":"1","cp_code":"sf"}`), 201103},
	} {
		resp, err := http.PostForm(s.URL, c.form)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		var e kuaidihelp.Envelope
		if err := json.Unmarshal(text, &e); err != nil || e.Code != c.code || e.Msg == "" || e.UID == "" ||
			string(e.Data) != "{}" {
			t.Errorf("%s: %s", name, text)
		}
	}
	if !p.HasSubscribed("zt", "2") || p.HasSubscribed("zt", "11") || p.HasSubscribed("sf", "1") {
		t.Error("what is refused is subscribed, or what is taken is not")
	}
}

func TestTheProviderPushesWhatWasSubscribedUntilItIsSigned(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	statuses, types := map[string][]string{}, map[string]bool{}
	first := true
	relay := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		mu.Lock()
		defer mu.Unlock()
		if first { // is pushed again
			first = false
			http.Error(w, "failure", http.StatusServiceUnavailable)
			return
		}
		contentType, _, _ := strings.Cut(req.Header.Get("Content-Type"), ";")
		types[contentType] = true
		for _, e := range kuaidihelp.Parse(req.Header.Get("Content-Type"), body, time.Now()).Events {
			statuses[e.WaybillCode] = append(statuses[e.WaybillCode], e.Status)
		}
		_, _ = io.WriteString(w, "success")
	}))
	t.Cleanup(relay.Close)
	p := NewProvider(Options{AppID: "1", APIKey: "key", Callback: relay.URL, Pause: time.Millisecond})
	s := httptest.NewServer(p)
	t.Cleanup(s.Close)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	client := &kuaidihelp.Client{URL: s.URL, AppID: "1", APIKey: "key"}
	for range 2 { // the second time changes nothing
		if e, err := client.Call(ctx, kuaidihelp.MethodSubscribe,
			kuaidihelp.CallData("zt", []string{"77001", "77002"})); err != nil || e.Code != 0 {
			t.Fatalf("%+v %v", e, err)
		}
	}
	deadline := time.Now().Add(20 * time.Second)
	for signed := 0; signed < 2; {
		signed = 0
		mu.Lock()
		for _, all := range statuses {
			if slices.Contains(all, kuaidihelp.StatusSigned) {
				signed++
			}
		}
		mu.Unlock()
		if time.Now().After(deadline) {
			t.Fatalf("not signed within 20 s: %v", statuses)
		}
		time.Sleep(time.Millisecond)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for code, all := range statuses {
		if all[0] != kuaidihelp.StatusCollected || slices.Index(all, kuaidihelp.StatusSigned) != len(all)-1 {
			t.Errorf("%s went %v", code, all)
		}
	}
	if len(types) < 3 {
		t.Errorf("only %v", types)
	}
}
