package relay_test

import (
	"strconv"
	"testing"
	"time"

	"kuairelay/test/redisserver"
)

// lastCallback is the time that the metric gives, in unix seconds.
func (r *running) lastCallback() float64 {
	r.t.Helper()
	v, err := strconv.ParseFloat(r.metric("kuairelay_last_callback_timestamp_seconds"), 64)
	if err != nil {
		r.t.Fatal(err)
	}
	return v
}

func TestASilentProviderIsNoticedAndHeardAgain(t *testing.T) {
	t.Parallel()
	a := startAPI(t, "callback: {tokens: ["+token+"], silence: 300ms}\nadmin: {token: "+adminToken+"}\n"+
		twoTenants("http://127.0.0.1:1", "http://127.0.0.1:1"))
	type status struct {
		Last   time.Time `json:"last_callback_at"`
		Silent bool
	}
	until(t, "nobody has called since the start", func() bool { return a.metric("kuairelay_provider_silent") == "1" })
	var s status
	until(t, "the status says so", func() bool {
		s = ok[status](a, adminToken, "GET", "/admin/v1/status", "")
		return s.Silent
	})
	if !s.Last.IsZero() || a.lastCallback() != 0 {
		t.Errorf("%+v, %v", s, a.lastCallback())
	}
	a.post("/callback/wrong-token", "application/json", callback(item("1", "collected", "2026-11-23 09:00:00")))
	if a.lastCallback() != 0 {
		t.Error("somebody without the token is taken for kuaidihelp")
	}
	a.push("text/plain", "what nobody understands is a callback too")
	at := time.UnixMilli(int64(a.lastCallback() * 1000))
	if time.Since(at).Abs() > time.Minute {
		t.Errorf("the latest callback came at %s", at)
	}
	until(t, "a callback ends the silence", func() bool {
		a.push("application/json", callback(item("1", "collected", "2026-11-23 09:00:00")))
		return a.metric("kuairelay_provider_silent") == "0"
	})
	until(t, "it is silent again", func() bool { return ok[status](a, adminToken, "GET", "/admin/v1/status", "").Silent })
	if s := ok[status](a, shopKey, "GET", "/v1/status", ""); s.Silent || !s.Last.IsZero() {
		t.Errorf("a tenant is told of kuaidihelp's calls: %+v", s)
	}
}

func TestTheLatestCallbackIsKnownToAllReplicasAndAfterARestart(t *testing.T) {
	t.Parallel()
	redis := redisserver.Start(t)
	yaml := withToken(redis.URL()) + "callback: {tokens: [" + token + "], silence: 0}\n"
	first := start(t, yaml)
	first.mustPush(callback(item("1", "collected", "2026-11-23 09:00:00")))
	at := first.lastCallback()
	first.stop()
	until(t, "it is written down", func() bool { v, _ := redis.Do("EXISTS", "{kuairelay}2:heard"); return v == "1" })
	second := start(t, yaml)
	until(t, "the next process knows of it", func() bool { return second.lastCallback() == at })
	if second.metric("kuairelay_provider_silent") != "0" {
		t.Error("silence: 0 is off")
	}
}
