package notify

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kuairelay/test/chats"
)

// to is a receiver that leads to a chat.
func to(chat *chats.Chat, format Format, language Language) *receiver {
	return &receiver{Receiver: Receiver{Name: string(format) + "-1", Format: format, URL: chat.URL, Secret: chat.Secret,
		On: []string{"all"}, Every: time.Minute, Language: language, Client: http.DefaultClient}, id: "id"}
}

func newNotifier() *Notifier {
	n := New(Options{Replica: "vm-1-x7ab", Registry: prometheus.NewRegistry()})
	n.pace.least = time.Millisecond
	return n
}

// hostile are problems whose texts are what a tenant or a receiver would like them to be.
func hostile(count int) (all []Problem) {
	for i := range count {
		all = append(all, Problem{
			Code: "endpoint_fails", Key: fmt.Sprint("t/e", i), Subject: fmt.Sprint("t/e", i), Severity: "critical", Since: noon,
			What: `its attempts fail <@all> <!channel> <at user_id="all">x</at> @所有人 *bold* ` + strings.Repeat("说<", 500),
			Why: "waybill 777005949070187, phone 13812345678, at 2026-12-01T03:26:58Z\n[press](https://evil.example/x) " +
				"![i](http://e/x) <https://evil.example|here> \u202e\x00\x1b[31m & \xff",
			Do: "mend it", By: []string{"a", "b"},
		})
	}
	return all
}

func TestEveryChatTakesItsMessagesInTheFormThatItDocuments(t *testing.T) {
	t.Parallel()
	for _, format := range Formats() {
		for _, language := range []Language{English, Chinese} {
			t.Run(string(format)+" "+string(language), func(t *testing.T) {
				t.Parallel()
				chat := chats.Start(t, string(format))
				n := newNotifier()
				r := to(chat, format, language)
				over := keyed{key: "redis_down redis", record: record{open: true, told: noon, was: lasting{
					Code: "redis_down", Severity: "critical", Subject: "redis", What: "callbacks go to the spool", Began: 1}}}
				for _, count := range []int{0, 1, 3, 200} {
					m := message{at: noon, receiver: &r.Receiver, replica: n.o.Replica, opened: hostile(count),
						over: []keyed{over}, alone: count == 3, test: count == 0}
					if err := n.send(t.Context(), r, m); err != nil {
						t.Errorf("%d problems: %v", count, err)
					}
				}

				for _, m := range chat.Messages() {
					harmlessIn(t, format, m.Text)
					if strings.Contains(m.Body, "777005949070187") || strings.Contains(m.Body, "13812345678") {
						t.Errorf("a waybill or a phone is in %s", m.Body)
					}
				}
				all := ""
				for _, m := range chat.Messages() {
					all += m.Text
				}
				if !strings.Contains(all, "77…187") || !strings.Contains(all, "13…678") {
					t.Errorf("they are not to be recognised in %s", all)
				}
				if len(chat.Messages()) < 4 {
					t.Errorf("%d messages", len(chat.Messages()))
				}
			})
		}
	}
}

// harmlessIn looks for marks in a text that stem from somebody else.
func harmlessIn(t *testing.T, format Format, text string) {
	t.Helper()
	if format == Webhook {
		return // JSON marks nothing
	}
	for _, mark := range []string{"<", ">", "@", "](", "://", "\x1b", "\x00", "\u202e"} {
		if strings.Contains(text, mark) {
			t.Errorf("%s: %q is in %s", format, mark, text)
		}
	}
}

func TestAMessageSaysWhatIsWrongSinceWhenWhyAndWhatToDo(t *testing.T) {
	t.Parallel()
	n := newNotifier()
	china := time.FixedZone("UTC+8", 8*60*60)
	n.o.Say = func(to Language, text string) string {
		names := map[string]string{"redis_down": "Redis does not answer", "breaker_open": "Breaker open"}
		if to == Chinese {
			names = map[string]string{"redis_down": "Redis 没有响应", "redis": "Redis", "callbacks wait": "回调在等待"}
		}
		return cmp.Or(names[text], text)
	}
	m := message{at: noon.Add(12 * time.Minute), replica: "vm-1", alone: true, opened: []Problem{{
		Code: "redis_down", Severity: "critical", Subject: "redis", Since: noon, What: "callbacks wait",
		Why: "redis is down since 2026-12-01T04:00:00Z", Do: "start it", By: []string{"vm-1", "vm-2"},
	}}, over: []keyed{{record: record{told: noon, was: lasting{Code: "breaker_open", Severity: "warning",
		Subject: "shop/orders", What: "it fails"}}}}}

	m.receiver = &Receiver{Format: WeCom, Language: English}
	want := `**kuairelay: 1 problem, 1 over**
**CRITICAL Redis does not answer**
callbacks wait
since 2026-12-01 04:00:00 UTC+00
why: redis is down since 2026-12-01 04:00:00 UTC+00
do: start it
seen by vm-1, vm-2
code: redis_down
**OVER Breaker open: shop/orders**
it lasted 12 min
code: breaker_open
Redis does not answer, so each replica tells this by itself: it may come several times. This is vm-1.`
	if got := n.marked(&m, "\n"); got != want {
		t.Errorf("%s\ninstead of\n%s", got, want)
	}

	m.receiver = &Receiver{Format: WeCom, Language: Chinese, Zone: china}
	m.over = nil
	m.opened[0].Why, m.opened[0].Do = "", ""
	want = `**kuairelay：1 个问题**
**【严重】Redis 没有响应**
回调在等待
开始时间：2026-12-01 12:00:00 UTC+08
发现该问题的副本：vm-1, vm-2
代码：redis_down
Redis 没有响应，各副本分别发送，因此可能重复收到。本条来自副本 vm-1。`
	if got := n.marked(&m, "\n"); got != want {
		t.Errorf("%s\ninstead of\n%s", got, want)
	}
}

func TestManyProblemsAreSummedUp(t *testing.T) {
	t.Parallel()
	n := newNotifier()
	m := message{at: noon, receiver: &Receiver{Format: WeCom, Language: English}, opened: hostile(200)}
	text := n.marked(&m, "\n")
	if !strings.Contains(text, "200 problems") || !strings.Contains(text, "and 19") || len(text) > 4096 {
		t.Errorf("%d bytes: %s", len(text), text)
	}
	posts, err := n.posts(&message{at: noon, receiver: &Receiver{Format: Webhook, Secret: chats.WebhookSecret},
		opened: hostile(200)}, noon)
	if err != nil || len(posts) != 1 {
		t.Fatal(posts, err)
	}
	var body webhook
	if err := json.Unmarshal(posts[0].body, &body); err != nil || len(body.Data.Problems) != 50 || body.Data.More != 150 {
		t.Errorf("%d problems and %d more, %v", len(body.Data.Problems), body.Data.More, err)
	}
}

// The same problems that are told again, because an answer was lost, have the same id.
func TestAWebhookThatIsSentAgainHasTheSameID(t *testing.T) {
	t.Parallel()
	n := newNotifier()
	id := func(at time.Time, problems ...Problem) string {
		posts, err := n.posts(&message{at: at, receiver: &Receiver{Format: Webhook, Secret: chats.WebhookSecret},
			opened: problems}, at)
		if err != nil {
			t.Fatal(err)
		}
		return posts[0].header.Get("webhook-id")
	}
	first, other := hostile(1)[0], hostile(1)[0]
	other.Since = noon.Add(time.Hour)
	if a, b := id(noon, first), id(noon.Add(time.Minute), first); a != b {
		t.Errorf("%s and %s", a, b)
	}
	if a, b := id(noon, first), id(noon, other); a == b {
		t.Error("a problem that began later has the same id")
	}
}

func TestAnswersOfEachChatAreRead(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		format Format
		status int
		body   string
		want   string // in the error; empty: taken
		pause  time.Duration
	}{
		{WeCom, 200, `{"errcode":0,"errmsg":"ok"}`, "", 0},
		{WeCom, 200, `{"errcode":93000,"errmsg":"invalid webhook url, hint: [1], from ip: 1.2.3.4"}`,
			"code 93000: the key in its address is wrong", 0},
		{WeCom, 200, chats.TooMany("wecom"), "code 45009: it got too many messages", time.Minute},
		{WeCom, 200, `{"errcode":40058,"errmsg":"content exceeds <@all> 777005949070187"}`,
			"code 40058: content exceeds ＜＠all＞ 77…187", 0},
		{WeCom, 200, `{"errcode":1,"errmsg":"no robot ` + chats.Token + `"}`, "code 1", 0},
		{WeCom, 200, `<html>`, "no JSON", 0},
		{WeCom, 200, `{}`, "no code", 0},
		{DingTalk, 200, `{"errcode":0,"errmsg":"ok"}`, "", 0},
		{DingTalk, 200, `{"errcode":310000,"errmsg":"sign not match"}`, "code 310000: its security settings refuse", 0},
		{DingTalk, 200, chats.TooMany("dingtalk"), "too many", 10 * time.Minute},
		{Feishu, 200, `{"code":0,"msg":"success","data":{}}`, "", 0},
		{Feishu, 200, `{"StatusCode":0,"StatusMessage":"success"}`, "", 0},
		{Feishu, 200, `{"code":19021,"msg":"sign match fail or timestamp is not within one hour from current time"}`,
			"code 19021: the secret is wrong", 0},
		{Feishu, 200, chats.TooMany("feishu"), "too many", time.Minute},
		{Slack, 200, `ok`, "", 0},
		{Slack, 404, `no_service`, "it answers 404: no_service", 0},
		{Slack, 429, ``, "it answers 429", 90 * time.Second},
		{Webhook, 204, ``, "", 0},
		{Webhook, 302, ``, "it answers 302", 0},
		{Webhook, 500, `secret things`, "it answers 500", 0},
	} {
		answer := &http.Response{StatusCode: tt.status, Header: http.Header{"Retry-After": {"90"}}}
		r := &Receiver{Format: tt.format, URL: "https://chat.example/send?key=" + chats.Token}
		err := verdict(r, answer, []byte(tt.body))
		got, pause := "", time.Duration(0)
		if err != nil {
			got, pause = err.Error(), err.(*refusal).pause
		}
		if (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) || pause != tt.pause {
			t.Errorf("%s %d %s: %q, %s", tt.format, tt.status, tt.body, got, pause)
		}
		if strings.Contains(got, chats.Token) || strings.Contains(got, "secret things") {
			t.Errorf("%s: %s", tt.format, got)
		}
	}
}

// An error of net/http has the whole address.
func TestWhyAMessageFailsShowsNoSecret(t *testing.T) {
	t.Parallel()
	n := newNotifier()
	for _, address := range []string{"http://127.0.0.1:1/x?key=" + chats.Token, "http://no.invalid/" + chats.Token,
		"http://[::1/" + chats.Token} {
		r := &receiver{Receiver: Receiver{Format: Slack, URL: address, Client: http.DefaultClient}}
		err := n.send(t.Context(), r, n.testMessage(&r.Receiver))
		if err == nil || strings.Contains(err.Error(), "token") || err.Error() == "" {
			t.Errorf("%s: %v", address, err)
		}
	}
	found, err := n.o.Registry.(*prometheus.Registry).Gather()
	if err != nil {
		t.Fatal(err)
	}
	failed := 0.0
	for _, m := range found[0].GetMetric() {
		failed += m.GetCounter().GetValue()
	}
	if failed != 3 {
		t.Errorf("%v messages are counted", failed)
	}
}

// Of an answer, however long, little is read, and a receiver that never answers is left alone in time.
func TestAReceiverThatHangsOrTalksForEverHoldsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNotifier()
		for name, answer := range map[string]http.RoundTripper{
			"hangs": roundTrip(func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}),
			"talks": roundTrip(func(r *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 500, Body: io.NopCloser(&endless{})}, nil
			}),
		} {
			r := &receiver{Receiver: Receiver{Format: Slack, URL: "https://chat.example/" + name,
				Client: &http.Client{Transport: answer}}}
			began := time.Now()
			err := n.send(t.Context(), r, n.testMessage(&r.Receiver))
			if err == nil || time.Since(began) > requestMost || len(err.Error()) > 200 {
				t.Errorf("%s: %v after %s", name, err, time.Since(began))
			}
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	e.read += len(p)
	if e.read > 1<<20 {
		panic("it is read on and on")
	}
	return len(p), nil
}

// However many messages there are, an address gets at most 20 in any minute.
func TestAnAddressGetsAtMostTwentyMessagesAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := New(Options{})
		var at []time.Time
		for range 100 {
			if err := n.pace.wait(t.Context(), "https://chat.example/"); err != nil {
				t.Fatal(err)
			}
			at = append(at, time.Now())
		}
		for i := 20; i < len(at); i++ {
			if at[i].Sub(at[i-20]) < time.Minute {
				t.Fatalf("21 messages within %s", at[i].Sub(at[i-20]))
			}
		}
		if span := at[99].Sub(at[0]); span > 10*time.Minute {
			t.Errorf("100 messages take %s", span)
		}
	})
}

func TestPausesAfterFailuresGrowToTenMinutes(t *testing.T) {
	t.Parallel()
	n := New(Options{})
	var got []time.Duration
	for i := range 8 {
		got = append(got, n.pauseAfter(i+1, io.EOF))
	}
	if fmt.Sprint(got) != "[15s 30s 1m0s 2m0s 4m0s 8m0s 10m0s 10m0s]" {
		t.Errorf("%s", got)
	}
	if p := n.pauseAfter(1, &refusal{pause: 24 * time.Hour}); p != time.Hour {
		t.Errorf("a receiver that asks for a day gets %s", p)
	}
}
