package relay_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"kuairelay/test/chats"
	"kuairelay/test/redisserver"
)

const crmKey = "crm-api-key-of-the-tests"

// noticesOf is a config with these receivers of notices, and an endpoint.
func noticesOf(redis, endpoint string, receivers ...string) string {
	return fmt.Sprintf(`admin: {token: %s}
redis: {url: '%s'}
delivery:
  retry: [%s1s]
  breaker: {failures: 2, cool_off: 100ms, max_cool_off: 100ms}
notices: [%s]
tenants:
  - name: shop
    api_keys: [%s]
    endpoints: [{name: orders, url: '%s', secrets: [%s]}]
    routes: [{to: orders}]
`, adminToken, redis, strings.Repeat("300ms, ", 90), strings.Join(receivers, ", "), shopKey, endpoint, secret)
}

// texts are those of all messages that a chat took and that have a text.
func texts(chat *chats.Chat, with string) (all []string) {
	for _, m := range chat.Messages() {
		if strings.Contains(m.Text, with) {
			all = append(all, m.Text)
		}
	}
	return all
}

// Three replicas see an endpoint fail, and one tells it; the replica that told is stopped, and another one tells that
// it is over.
func TestThreeReplicasSendOneMessageThatSomethingBeganAndOneThatItIsOver(t *testing.T) {
	t.Parallel()
	chat := chats.Start(t, "wecom")
	redis := redisserver.Start(t)
	var down atomic.Bool
	down.Store(true)
	receiver := newTenant(t, func(w http.ResponseWriter, _ int, _ received) {
		if down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, "cannot store 777005949070187 of 13812345678 <@all>")
		}
	})
	yaml := noticesOf(redis.URL(), receiver.URL, chat.Config()+", on: [breaker_open], language: en}")
	var replicas []*running
	for range 3 {
		replicas = append(replicas, start(t, yaml))
	}
	for i := range 5 {
		replicas[0].push("application/json", callback(item(fmt.Sprint("1234567890", i), "collected", "2026-11-23 09:00:00")))
	}
	until(t, "it is told that the breaker is open", func() bool { return len(texts(chat, "breaker is open")) > 0 })
	told := chat.Messages()[0]
	if strings.Contains(told.Body, "cannot store") || !strings.Contains(told.Text, "shop/orders") ||
		!strings.Contains(told.Text, "503") {
		t.Errorf("%s", told.Text)
	}

	var teller int
	until(t, "a replica says that it told", func() bool {
		teller = slices.IndexFunc(replicas, func(r *running) bool { return r.logs.FilterMessage("notice sent").Len() > 0 })
		return teller >= 0
	})
	replicas[teller].stop()
	must(t, <-replicas[teller].done)
	replicas[teller].done <- nil
	looks(t, 6)
	if n := len(chat.Messages()); n != 1 {
		t.Errorf("%d messages, with three replicas and one that was stopped", n)
	}

	down.Store(false)
	until(t, "it is told that it is over", func() bool { return len(texts(chat, "OVER")) > 0 })
	looks(t, 6)
	if n := len(chat.Messages()); n != 2 {
		t.Errorf("%d messages: %q", n, chat.Messages())
	}
}

// looks waits for as long as so many looks at what is wrong take.
func looks(t *testing.T, n int) {
	t.Helper()
	began := time.Now()
	until(t, "some looks pass", func() bool { return time.Since(began) > time.Duration(n)*noticesLook })
}

// An endpoint whose breaker opens and closes again and again is told of twice within every: that it began, and that it
// was over.
func TestAnEndpointThatFlapsIsToldTwiceWithinEvery(t *testing.T) {
	t.Parallel()
	chat := chats.Start(t, "dingtalk")
	var down atomic.Bool
	receiver := newTenant(t, func(w http.ResponseWriter, _ int, _ received) {
		if down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	yaml := noticesOf(redisserver.Start(t).URL(), receiver.URL,
		chat.Config()+", on: [breaker_open], every: 30m, language: en}")
	replicas := []*running{start(t, yaml), start(t, yaml)}
	open := func() string {
		return replicas[0].metric(`kuairelay_endpoint_parked{endpoint="shop/orders",state="open"}`)
	}
	for i := range 3 {
		down.Store(true)
		for j := range 3 {
			replicas[j%2].push("application/json", callback(item(fmt.Sprint("12345", i, j), "collected", "2026-11-23 09:00:00")))
		}
		until(t, "its breaker opens", func() bool { return open() == "1" })
		until(t, "that is told", func() bool { return len(texts(chat, "shop/orders")) > 0 })
		looks(t, 10) // while all is well, a look at everything comes late
		down.Store(false)
		until(t, "its breaker closes", func() bool { return open() != "1" })
		until(t, "that it is over is told", func() bool { return len(texts(chat, "OVER")) > 0 })
		looks(t, 14)
	}

	all := texts(chat, "shop/orders")
	if len(all) != 2 || strings.Contains(all[0], "OVER") || !strings.Contains(all[1], "OVER") {
		t.Errorf("%d messages of three times: %q", len(all), all)
	}
}

// While Redis is dead, each replica tells by itself, and says so; once it is back, one of them tells that it is over.
func TestADeadRedisIsToldByEachReplicaAndOnceThatItIsBack(t *testing.T) {
	t.Parallel()
	chat := chats.Start(t, "feishu")
	redis := redisserver.Start(t)
	yaml := noticesOf(redis.URL(), "http://127.0.0.1:1/", chat.Config()+", on: [critical]}")
	for range 2 {
		start(t, yaml)
	}
	_, err := redis.Do("SET", "there", "1")
	must(t, err)
	redis.Kill()
	began := time.Now()
	until(t, "both tell", func() bool { return len(texts(chat, "Redis 没有响应")) == 2 })
	t.Logf("both have told after %s, with a look every %s", time.Since(began), noticesLook)
	for _, text := range texts(chat, "Redis 没有响应") {
		if !strings.Contains(text, "redis_down") || !strings.Contains(text, "可能重复收到") {
			t.Errorf("%s", text)
		}
	}

	must(t, redis.Restart())
	until(t, "it is told that Redis is back", func() bool { return len(texts(chat, "已恢复")) > 0 })
	looks(t, 10)
	if n := len(chat.Messages()); n != 3 {
		t.Errorf("%d messages, want two that it is down and one that it is back: %q", n, chat.Messages())
	}
}

// What only one replica sees is told, with its name, whichever of them tells: each of two sees something of its own.
func TestWhatOneReplicaSeesIsToldWithItsName(t *testing.T) {
	t.Parallel()
	chat := chats.Start(t, "webhook")
	redis := redisserver.Start(t)
	yaml := noticesOf(redis.URL(), "http://127.0.0.1:1/", chat.Config()+", on: [config_refused, restart_needed]}")
	first, second := startAPI(t, yaml), startAPI(t, yaml)
	first.write(strings.Replace(yaml, "routes:", "rotues:", 1))
	second.write(strings.Replace(yaml, redis.URL()+"'}", redis.URL()+"', wait_replicas: 1}", 1))

	type notice struct {
		Type string
		Data struct {
			Problems []struct {
				Code, Name string
				Replicas   []string
			}
		}
	}
	told := make(map[string]string) // names of problems, and the replicas that see them, by type and code
	count := func() int {
		for _, m := range chat.Messages() {
			var n notice
			must(t, json.Unmarshal([]byte(m.Body), &n))
			for _, p := range n.Data.Problems {
				told[n.Type+" "+p.Code] = fmt.Sprint(p.Name, " ", len(p.Replicas))
			}
		}
		return len(told)
	}
	until(t, "both are told", func() bool { return count() == 2 })
	first.write(yaml)
	second.write(yaml)
	until(t, "both are over", func() bool { return count() == 4 })
	if got := fmt.Sprint(told); got != "map[problem.opened config_refused:配置有错误 1 problem.opened restart_needed:需要重启 1 "+
		"problem.over config_refused:配置有错误 0 problem.over restart_needed:需要重启 0]" {
		t.Errorf("%s", got)
	}

	schema, err := first.load().compile("doc.json#/webhooks/problem/post/requestBody/content/application~1json/schema")
	must(t, err)
	for _, m := range chat.Messages() {
		body, err := jsonschema.UnmarshalJSON(strings.NewReader(m.Body))
		must(t, err)
		if err := schema.Validate(body); err != nil {
			t.Errorf("%s is not as the document says: %v", m.Body, err)
		}
	}
}

// No message, log line, metric, page of the config or answer of the API has a secret of a receiver.
func TestSecretsOfReceiversAreNowhere(t *testing.T) {
	t.Parallel()
	var all []string
	var some []*chats.Chat
	for _, format := range []string{"wecom", "feishu", "dingtalk", "slack", "webhook"} {
		chat := chats.Start(t, format)
		some = append(some, chat)
		all = append(all, chat.Config()+", on: [redis_emptied]}")
	}
	refusing := chats.Start(t, "slack")
	refusing.Refuse(func(w http.ResponseWriter) bool {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "invalid_token "+chats.Token)
		return true
	})
	all = append(all, refusing.Config()+", on: [redis_emptied]}",
		"{to: 'http://127.0.0.1:1/"+chats.Token+"', format: slack, on: [redis_emptied]}")
	a := startAPI(t, noticesOf(redisserver.Start(t).URL(), "http://127.0.0.1:1/", all...))

	status, body := a.call(adminToken, "POST", "/admin/v1/notices/test", "")
	if status != http.StatusOK || strings.Count(body, `"sent":true`) != 5 || strings.Count(body, `"sent":false`) != 2 ||
		!strings.Contains(body, `"why":"nothing listens at 127.0.0.1:1 (connection refused)"`) {
		t.Errorf("%d %s", status, body)
	}
	for _, chat := range some {
		if len(chat.Messages()) != 1 {
			t.Errorf("%d test messages", len(chat.Messages()))
		}
	}
	shown := body
	for _, path := range []string{"status", "config", "config/effective", "audit"} {
		_, body := a.call(adminToken, "GET", "/admin/v1/"+path, "")
		shown += body
	}
	_, metrics := a.get(a.admin + "/metrics")
	shown += metrics
	for _, line := range a.logs.All() {
		shown += fmt.Sprintln(line.Message, line.ContextMap())
	}
	for _, chat := range some {
		for _, m := range chat.Messages() {
			shown += m.Body
		}
	}
	for _, text := range []string{chats.Token, chats.FeishuSecret, chats.DingTalkSecret, chats.WebhookSecret} {
		if i := strings.Index(shown, text); i >= 0 {
			t.Errorf("%s is shown in %.300s", text, shown[max(0, i-200):])
		}
	}
	if !strings.Contains(metrics, `kuairelay_notices_total{format="slack",result="failed"} 2`) {
		t.Error("the metric does not count them")
	}
}

// A receiver that takes nothing is named on the pages of every replica, and keeps nobody else from being told. What it
// was not told, it is told when it takes messages again.
func TestAReceiverThatTakesNothingIsAProblemAndHoldsUpNobody(t *testing.T) {
	t.Parallel()
	good, bad := chats.Start(t, "slack"), chats.Start(t, "wecom")
	bad.Refuse(func(w http.ResponseWriter) bool {
		_, _ = io.WriteString(w, `{"errcode":93000,"errmsg":"invalid webhook url, hint: [1]"}`)
		return true
	})
	redis := redisserver.Start(t)
	yaml := noticesOf(redis.URL(), "http://127.0.0.1:1/", bad.Config()+", on: [redis_advice]}",
		good.Config()+", on: [redis_advice], language: en}")
	var replicas []*apiClient
	for range 2 {
		replicas = append(replicas, startAPI(t, yaml))
	}
	until(t, "the other one is told", func() bool { return len(texts(good, "redis_advice")) == 1 })
	until(t, "messages are tried again", func() bool { return bad.Posts() >= 2 })
	for _, a := range replicas {
		until(t, "each replica names it", func() bool {
			p := a.problems(adminToken)["notice_fails"]
			return p.Subject == "notices wecom-1" && strings.Contains(p.Why, "93000: the key in its address is wrong")
		})
	}
	if len(good.Messages()) != 1 {
		t.Errorf("%q", good.Messages())
	}

	bad.Refuse(nil)
	for _, a := range replicas { // whoever has mended it tries it, and that ends the pause
		if status, body := a.call(adminToken, "POST", "/admin/v1/notices/test", `{"receiver":"wecom-1"}`); status !=
			http.StatusOK || !strings.Contains(body, `"sent":true`) {
			t.Errorf("%d %s", status, body)
		}
	}
	until(t, "it is told, too", func() bool { return len(texts(bad, "redis_advice")) == 1 })
	for _, a := range replicas {
		until(t, "that it fails is over", func() bool { return a.problems(adminToken)["notice_fails"].Code == "" })
	}
	lines := 0
	for _, a := range replicas {
		lines += a.logs.FilterMessage("notice not sent: it is tried again while it is due").Len()
	}
	if lines != 1 {
		t.Errorf("%d lines of the log say that it failed", lines)
	}
}

// A tenant is told of its own problems, and the operator of all. A reload has the others told.
func TestATenantIsToldOfItsOwnProblemsOnly(t *testing.T) {
	t.Parallel()
	ofShop, ofCRM := chats.Start(t, "dingtalk"), chats.Start(t, "slack")
	const yaml = `admin: {token: %s}
redis: {url: '%s'}
delivery: {retry: [1h], breaker: {failures: 1, cool_off: 1h, max_cool_off: 1h}}
tenants:
  - name: shop
    api_keys: [%s]
    notices: [%s]
    endpoints: [{name: orders, url: 'http://127.0.0.1:1/', secrets: [%s]}]
    routes: [{to: orders}]
  - name: crm
    api_keys: [%s]
    notices: [%s]
    endpoints: [{name: sync, url: 'http://127.0.0.1:2/', secrets: [%s]}]
    routes: [{to: sync, match: {status: signed}}]
`
	redis := redisserver.Start(t)
	with := func(crm string) string {
		return fmt.Sprintf(yaml, adminToken, redis.URL(), shopKey, ofShop.Config()+", language: en}", secret, crmKey,
			crm, secret)
	}
	a := startAPI(t, with(""))
	a.push("application/json", callback(item("1", "signed", "2026-11-23 09:00:00")))
	until(t, "shop is told", func() bool { return len(texts(ofShop, "shop/orders")) == 1 })

	a.write(with(ofCRM.Config() + ", language: en}"))
	until(t, "crm is told after the reload", func() bool { return len(texts(ofCRM, "crm/sync")) == 1 })
	for _, x := range []struct {
		chat *chats.Chat
		not  string
	}{{ofShop, "crm"}, {ofCRM, "shop"}, {ofShop, "redis"}, {ofCRM, "redis"}} {
		if found := texts(x.chat, x.not); len(found) > 0 {
			t.Errorf("it is told of %s: %q", x.not, found)
		}
	}

	status, body := a.call(crmKey, "POST", "/v1/notices/test", "")
	if status != http.StatusOK || !strings.Contains(body, `"receiver":"crm/slack-1"`) || strings.Contains(body, "shop") {
		t.Errorf("%d %s", status, body)
	}
	for _, name := range []string{"slack-1", "crm/slack-1"} {
		if status, body := a.call(crmKey, "POST", "/v1/notices/test", `{"receiver":"`+name+`"}`); status != http.StatusOK ||
			strings.Count(body, `"sent":true`) != 1 {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	const shops = `{"receiver":"shop/dingtalk-1"}`
	if status, _ := a.call(crmKey, "POST", "/v1/notices/test", shops); status != http.StatusNotFound {
		t.Errorf("crm sends a message to shop: %d", status)
	}
	status, body = a.call(adminToken, "POST", "/admin/v1/notices/test", shops)
	if status != http.StatusOK || !strings.Contains(body, `"sent":true`) {
		t.Errorf("%d %s", status, body)
	}
}

// While nothing is wrong, telling people costs Redis little: it is a part of what an idle replica may ask.
func TestNoticesCostAnIdleRedisLessThanHalfACommandASecond(t *testing.T) {
	t.Parallel()
	chat := chats.Start(t, "slack")
	idle := func(receivers ...string) float64 {
		redis := redisserver.Start(t, "--appendonly", "yes")
		r := start(t, noticesOf(redis.URL(), "http://127.0.0.1:1/", receivers...))
		const span = 8 * time.Second
		began := time.Now()
		until(t, "it has started", func() bool { return r.relay.SettingsTold() && time.Since(began) > 2*time.Second })
		before := commands(t, redis)
		began = time.Now()
		until(t, "some time passes", func() bool { return time.Since(began) > span })
		return float64(commands(t, redis)-before) / (float64(span) / float64(noticesLook))
	}
	without, with := idle(), idle(chat.Config()+", on: [all]}")
	const lookEvery = 15 // seconds
	t.Logf("a look costs %.1f commands: %.2f a second", with-without, (with-without)/lookEvery)
	if rate := (with - without) / lookEvery; rate > 0.5 {
		t.Errorf("%.2f commands a second", rate)
	}
	if n := len(chat.Messages()); n != 0 {
		t.Errorf("%d messages: is it idle? %q", n, chat.Messages())
	}
}
