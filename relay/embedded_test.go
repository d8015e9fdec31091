package relay_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// end stops a relay, and waits until it has ended.
func (r *running) end() {
	r.t.Helper()
	r.stop()
	must(r.t, <-r.done)
	r.done <- nil
}

func TestWithoutRedisNothingIsLostOverARestart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "spool")
	up := newSwitch()
	shop := newTenant(t, func(w http.ResponseWriter, _ int, _ received) { w.WriteHeader(up.status()) })
	yaml := "dedupe: {bare_window: 1ms}\nspool: {dir: " + dir + "}" + one(shop.URL, ", retry: [100ms, 1h], order: none")
	r := start(t, yaml)
	if _, answer := r.readyz(); answer["redis"] != "embedded" || answer["status"] != "ready" {
		t.Errorf("readyz: %v", answer)
	}
	bare := func(status string) string {
		return callback(`{"waybill_code":"1","cp_code":"zt","status":"` + status + `"}`)
	}
	r.mustPush(callback(item("0", "signed", "1")))
	shop.wait(1)
	until(t, "what is delivered is gone from the spool", func() bool { return len(spooled(t, dir)) == 0 })
	// A, B, A again: the last is a recurrence, whose id the content does not give.
	r.mustPush(bare("a"))
	until(t, "it is gone too", func() bool { return len(shop.all()) == 2 && len(spooled(t, dir)) == 0 })
	up.set(http.StatusServiceUnavailable)
	r.mustPush(bare("b"))
	r.mustPush(bare("a"))
	ids := map[string]bool{}
	until(t, "both fail", func() bool {
		for _, got := range shop.all()[2:] {
			ids[got.header.Get("Webhook-Id")] = true
		}
		return len(ids) == 2
	})
	if n := len(spooled(t, dir)); n != 2 {
		t.Errorf("%d files for two that failed", n)
	}
	r.end()
	if n := len(spooled(t, dir)); n != 2 {
		t.Errorf("%d files are left", n)
	}
	before := len(shop.all())
	up.set(http.StatusOK)
	r = start(t, yaml)
	until(t, "the spool is empty", func() bool { return len(spooled(t, dir)) == 0 })
	for _, got := range shop.all()[before:] {
		if !ids[got.header.Get("Webhook-Id")] {
			t.Errorf("a restart gives the id %s, not one of %v", got.header.Get("Webhook-Id"), ids)
		}
		delete(ids, got.header.Get("Webhook-Id"))
	}
	if len(ids) != 0 {
		t.Errorf("lost: %v", ids)
	}
	r.end()
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 0 {
		t.Errorf("folders are left: %v, %v", left, err)
	}
}

func TestWithoutRedisADeadLetterKeepsItsCallback(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "spool")
	shop := newTenant(t, func(w http.ResponseWriter, _ int, got received) {
		if strings.Contains(got.body, "refused") {
			w.WriteHeader(http.StatusUnprocessableEntity)
		}
	})
	r := start(t, "spool: {dir: "+dir+"}"+one(shop.URL, ", retry: [1ms]"))
	r.mustPush(callback(item("1", "refused", "1"), item("2", "signed", "1")))
	r.mustPush(callback(item("3", "signed", "1")))
	until(t, "one is dead and the others are delivered", func() bool {
		return r.metric(`kuairelay_queue_depth{endpoint="shop/orders",state="dead"}`) == "1" && len(shop.all()) == 4
	})
	until(t, "only the callback with the dead letter is left", func() bool { return len(spooled(t, dir)) == 1 })
	if n := r.metric("kuairelay_spool_waiting"); n != "0" {
		t.Errorf("%s wait", n)
	}
}

func TestWithoutRedisNothingStaysInTheSpoolAfterAFlood(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "spool")
	shop := newTenant(t, nil)
	r := start(t, "spool: {dir: "+dir+"}"+one(shop.URL, ", max_in_flight: 2"))
	var clients sync.WaitGroup
	for c := range 8 {
		clients.Go(func() {
			for n := range 40 {
				r.mustPush(callback(item(fmt.Sprint(c, "-", n), "signed", "1")))
			}
		})
	}
	clients.Wait()
	shop.wait(320)
	until(t, "the spool is empty", func() bool { return len(spooled(t, dir)) == 0 })
}
