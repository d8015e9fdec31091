package kuaidihelp_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"kuairelay/relay/kuaidihelp"
)

func TestSignIsThatOfTheProvidersPage(t *testing.T) {
	t.Parallel()
	got := kuaidihelp.Sign("10000", "cloud.print.do", "1524209949", "bdf3b5f50865ac813cbdfd6c9b572b79")
	if got != "5030cae3388ecdc2e686379753a0564c" {
		t.Errorf("got %s", got)
	}
}

// answering is a client whose provider answers so.
func answering(t *testing.T, answer http.HandlerFunc) *kuaidihelp.Client {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	return &kuaidihelp.Client{URL: s.URL + "/api", AppID: "50001", APIKey: "secret-key", Timeout: 2 * time.Second,
		Now: func() time.Time { return time.Unix(1524209949, 5) }}
}

func TestACallIsMadeAsTheProvidersPageSays(t *testing.T) {
	t.Parallel()
	var got *http.Request
	var body string
	c := answering(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		text, _ := io.ReadAll(r.Body)
		body = string(text)
		_, _ = io.WriteString(w, `{"code":0,"msg":"成功","data":{},"uid":"6fb93a83"}`)
	})
	e, err := c.Call(t.Context(), kuaidihelp.MethodSubscribe, kuaidihelp.SubscribeData("zt", []string{"1", "2&"}))
	if err != nil || e.Code != 0 || e.Msg != "成功" || e.UID != "6fb93a83" || string(e.Data) != "{}" {
		t.Errorf("%+v %v", e, err)
	}
	if got.Method != "POST" || got.URL.Path != "/api" || got.Header.Get("Content-Type") != "application/x-www-form-urlencoded; charset=utf-8" {
		t.Errorf("%s %s %v", got.Method, got.URL, got.Header)
	}
	form, err := url.ParseQuery(body)
	want := url.Values{"app_id": {"50001"}, "method": {"express.sub.msg"}, "ts": {"1524209949"}, "data": {`{"cp_code":"zt","waybill_codes":"1,2\u0026"}`},
		"sign": {kuaidihelp.Sign("50001", "express.sub.msg", "1524209949", "secret-key")}}
	if err != nil || form.Encode() != want.Encode() {
		t.Errorf("%s", body)
	}
}

func TestWhateverStandsInTheEnvelopeIsAnAnswer(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]kuaidihelp.Envelope{
		`{"code":1008,"msg":"余额不足","data":{},"uid":"u"}`:     {Code: 1008, Msg: "余额不足", UID: "u"},
		`{"code":"201101","msg":"查询暂无记录"}`:                   {Code: 201101, Msg: "查询暂无记录"},
		`{"code":0,"msg":null,"data":"text","uid":12345678}`: {Code: 0, UID: "12345678"},
		` {"code": 0 } `: {},
	} {
		c := answering(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
		e, err := c.Call(t.Context(), "m", nil)
		if err != nil || e.Code != want.Code || e.Msg != want.Msg || e.UID != want.UID {
			t.Errorf("%s: %+v %v", text, e, err)
		}
	}
}

func TestWhatIsNoAnswerSaysWhetherToAskAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer  http.HandlerFunc
		refused bool
		says    string
	}{
		"HTTP 503":        {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "x", http.StatusServiceUnavailable) }, false, "HTTP 503"},
		"HTTP 404":        {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "x", http.StatusNotFound) }, true, "HTTP 404"},
		"a redirect":      {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/x", http.StatusTemporaryRedirect) }, true, "HTTP 307"},
		"no envelope":     {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `<html>`) }, false, "without its envelope"},
		"no code":         {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"msg":"x"}`) }, false, "without its envelope"},
		"a broken answer": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, false, "does not answer"},
		"no answer": {func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // or the server does not notice that the client goes
			<-r.Context().Done()
		}, false, "deadline exceeded"},
	} {
		client := answering(t, c.answer)
		if name == "no answer" {
			client.Timeout = 50 * time.Millisecond
		}
		_, err := client.Call(t.Context(), "m", nil)
		e, ok := errors.AsType[*kuaidihelp.ErrNoAnswer](err)
		if !ok || e.Refused != c.refused || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "127.0.0.1:") && name != "a broken answer" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAProviderThatRepeatsTheKeyDoesNotGiveItAway(t *testing.T) {
	t.Parallel()
	c := answering(t, func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		_, _ = io.WriteString(w, `{"code":1006,"msg":"secret-key `+r.PostForm.Get("sign")+`","data":"secret-key","uid":"secret-key"}`)
	})
	e, err := c.Call(t.Context(), "m", nil)
	if err != nil || strings.Contains(e.Msg+string(e.Data)+e.UID, "secret-key") || strings.Contains(e.Msg, kuaidihelp.Sign("50001", "m", "1524209949", "secret-key")) {
		t.Errorf("%+v %v", e, err)
	}
}
