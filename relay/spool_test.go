package relay_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"kuairelay/test/redisserver"
)

func TestACallbackThatNobodyHasIsRefusedAlsoIfRedisRefusesAtOnce(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, nil)
	redis := redisserver.Start(t)
	dir := filepath.Join(t.TempDir(), "spool")
	r := start(t, "redis: {url: '"+redis.URL()+"'}\nspool: {dir: "+dir+"}"+one(shop.URL, ""))
	r.mustPush(callback(item("1", "signed", "1")))
	shop.wait(1)
	must(t, os.RemoveAll(dir))
	must(t, os.WriteFile(dir, nil, 0o600))
	ask(t, redis, "CONFIG", "SET", "maxmemory", "1")
	if status, answer := r.push("application/json", callback(item("2", "signed", "1"))); status != 503 ||
		answer != "failure" {
		t.Errorf("answer %d %q", status, answer)
	}
	ask(t, redis, "CONFIG", "SET", "maxmemory", "0")
	must(t, os.Remove(dir))
}

func TestACallbackOfUnknownLengthIsTakenFromAnAddressThatMayPush(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, nil)
	r := start(t, "callback: {tokens: ["+token+"], allow_cidrs: [127.0.0.0/8, '::1/128'], max_body: 64KiB}\n"+
		one(shop.URL, ""))
	push := func(body string) int {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, r.public+"/callback/"+token,
			io.MultiReader(strings.NewReader(body)))
		must(t, err)
		status, _ := r.do(req)
		return status
	}
	if status := push(callback(item("1", "signed", "1"))); status != 200 {
		t.Errorf("answer %d", status)
	}
	shop.wait(1)
	if status := push(strings.Repeat("x", 65<<10)); status != 413 {
		t.Errorf("answer %d to one that is too large", status)
	}
}

func TestSpooledCallbacksThatCannotBeReadForAWhileAreDeliveredAfterwards(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, nil)
	redis := redisserver.Start(t)
	dir := filepath.Join(t.TempDir(), "spool")
	r := start(t, "redis: {url: '"+redis.URL()+"'}\nspool: {dir: "+dir+"}"+one(shop.URL, ""))
	redis.Kill()
	for n := range 3 {
		r.mustPush(callback(item("1", "signed", fmt.Sprint(n))))
	}
	own := filepath.Dir(spooled(t, dir)[0])
	must(t, os.Rename(own, own+".away"))
	must(t, os.WriteFile(own, nil, 0o600)) // each read fails with "not a directory"
	must(t, redis.Restart())
	until(t, "reading was tried", func() bool {
		return len(r.logs.FilterMessageSnippet("a file of the spool cannot be read").All()) > 0
	})
	if n := r.metric(`kuairelay_spool_callbacks_total{result="unreadable"}`); n != "0" {
		t.Errorf("%s were set aside", n)
	}
	must(t, os.Remove(own))
	must(t, os.Rename(own+".away", own))
	got := shop.wait(3)
	for n := range got {
		if !strings.Contains(got[n].body, fmt.Sprintf(`"time":"%d"`, n)) {
			t.Errorf("delivery %d: %s", n, got[n].body)
		}
	}
	until(t, "the spool is empty", func() bool { return len(spooled(t, dir)) == 0 })
}

// bare is a callback with so many items that differ, each with a waybill of its own.
func bare(items int) string {
	var b strings.Builder
	b.WriteString(`{"type":"express_sub_msg","data":[`)
	for n := range items {
		fmt.Fprintf(&b, `{"no":"large-%d"},`, n)
	}
	return strings.TrimSuffix(b.String(), ",") + "]}"
}

func TestALargeCallbackIsTakenInPartsWhileOthersPassItBy(t *testing.T) {
	t.Parallel()
	const items = 20_000
	shop := newTenant(t, nil)
	redis := redisserver.Start(t)
	dir := filepath.Join(t.TempDir(), "spool")
	r := start(t, "redis: {url: '"+redis.URL()+"'}\nspool: {dir: "+dir+"}"+`
tenants:
  - name: shop
    endpoints: [{name: orders, url: "`+shop.URL+`", secrets: [`+secret+`]}]
    routes: [{to: orders, match: {waybill_code: "small-*"}}]
`)
	ask(t, redis, "CONFIG", "SET", "maxmemory", "1")
	r.mustPush(bare(items))
	ask(t, redis, "CONFIG", "SET", "maxmemory", "0")
	for n := range 20 {
		r.mustPush(callback(item(fmt.Sprintf("small-%d", n), "signed", "1")))
	}
	shop.wait(20)
	r.mustPush(bare(items)) // the same again, while it is taken, or later
	until(t, "both are taken", func() bool {
		return r.metric(`kuairelay_events_total{result="duplicate"}`) == fmt.Sprint(items) && len(spooled(t, dir)) == 0
	})
	for series, want := range map[string]string{
		`kuairelay_events_total{result="unrouted"}`:  fmt.Sprint(items),
		`kuairelay_events_total{result="duplicate"}`: fmt.Sprint(items),
		`kuairelay_events_total{result="new"}`:       "20",
	} {
		until(t, series+" is "+want, func() bool { return r.metric(series) == want })
	}
}

func TestALargeCallbackIsTakenAgainFromTheStartAfterItWasCutOff(t *testing.T) {
	t.Parallel()
	const items = 5_000
	shop := newTenant(t, nil)
	redis := redisserver.Start(t)
	dir := filepath.Join(t.TempDir(), "spool")
	yaml := "redis: {url: '" + redis.URL() + "'}\nspool: {dir: " + dir + "}" + one(shop.URL, "")
	r := start(t, yaml)
	r.mustPush(bare(items))
	until(t, "a part of it is taken", func() bool { return ask(t, redis, "EXISTS", "{kuairelay}2:w:large-64") == "1" })
	r.end()
	start(t, yaml)
	shop.wait(items)
	until(t, "it is taken", func() bool { return len(spooled(t, dir)) == 0 })
	seen := map[string]bool{}
	for _, x := range shop.all() {
		seen[x.header.Get("webhook-id")] = true
	}
	if len(seen) != items {
		t.Errorf("%d events were delivered, not %d", len(seen), items)
	}
}

func TestARelayEndsAtOnceWithAPipeInItsSpool(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, nil)
	redis := redisserver.Start(t)
	dir := filepath.Join(t.TempDir(), "spool")
	r := start(t, "redis: {url: '"+redis.URL()+"'}\nspool: {dir: "+dir+"}"+one(shop.URL, ""))
	redis.Kill()
	r.mustPush(callback(item("1", "signed", "1")))
	path := spooled(t, dir)[0]
	must(t, os.Remove(path))
	must(t, syscall.Mkfifo(path, 0o600)) // to open it would wait for the other end
	must(t, redis.Restart())
	until(t, "it is set aside", func() bool {
		return r.metric(`kuairelay_spool_callbacks_total{result="unreadable"}`) == "1"
	})
	ended := make(chan struct{})
	go func() {
		r.end()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("it does not end")
	}
}

func TestALargeCallbackIsTakenWithoutTheSpoolIfThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, nil)
	redis := redisserver.Start(t)
	dir := filepath.Join(t.TempDir(), "spool")
	r := start(t, "redis: {url: '"+redis.URL()+"'}\nspool: {dir: "+dir+"}"+one(shop.URL, ""))
	r.mustPush(callback(item("1", "signed", "1")))
	shop.wait(1)
	must(t, os.RemoveAll(dir))
	must(t, os.WriteFile(dir, nil, 0o600))
	until(t, "it is taken, though it may take longer than kuaidihelp waits", func() bool {
		status, answer := r.push("application/json", bare(2000))
		return status == http.StatusOK && answer == "success"
	})
	shop.wait(2001)
	must(t, os.Remove(dir))
	until(t, "the log says that it works again", func() bool {
		return len(r.logs.FilterMessage("the spool can be written again").All()) > 0
	})
}
