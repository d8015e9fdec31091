package relay_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kuairelay/test/redisserver"
)

// marker stands in every bad body, to be searched for in the log.
const marker = "13800138000"

func TestBadInputGetsTheAnswerOfTheContractAndLosesNothing(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, nil)
	r := start(t, one(shop.URL, ""))
	good := func(n int) string { return item(fmt.Sprint("good", n), "signed", "2026-11-23 10:00:00") }
	for i, c := range []struct {
		name, path, body    string
		status              int
		answer              string
		events, quarantined int
	}{
		{"empty", "", "", 200, "success", 0, 1},
		{"truncated", "", `{"type":"express_sub_msg","data":[{"phone":"` + marker, 200, "success", 0, 1},
		{"five MiB", "", `{"type":"` + strings.Repeat(marker, 500_000) + `"}`, 413, "failure", 0, 0},
		{"wrong token", "/callback/wrong-token", callback(good(0)), 404, "", 0, 0},
		{"no token", "/callback/", callback(good(0)), 404, "", 0, 0},
		{"nested 100,000 deep", "", strings.Repeat("[", 100_000) + marker, 200, "success", 0, 1},
		{"an item nested 100 deep, with siblings", "",
			callback(good(1), strings.Repeat(`{"no":"1","a":`, 100)+"1"+strings.Repeat("}", 100), good(2)), 200, "success", 2,
			1},
		{"not UTF-8, with siblings", "", callback(good(3), "{\"no\":\"1\",\"x\":\"\xff"+marker+"\"}", good(4)), 200,
			"success", 2, 1},
		{"duplicate keys, with siblings", "", callback(good(5), `{"no":"1","`+marker+`":1,"`+marker+`":2}`, good(6)), 200,
			"success", 2, 1},
		{"data is a number", "", `{"type":"express_sub_msg","data":` + marker + `}`, 200, "success", 0, 1},
		{"no type", "", `{"data":[` + good(7) + `]}`, 200, "success", 0, 1},
		{"an item without a waybill", "", callback(`{"status":"` + marker + `"}`), 200, "success", 0, 1},
		{"data is empty", "", callback(), 200, "success", 0, 0},
		{"another type", "", `{"type":"print_status","data":{"x":1}}`, 200, "success", 1, 0},
	} {
		before, beforeQ := len(shop.all()), r.metric(`kuairelay_events_total{result="quarantined"}`)
		path := c.path
		if path == "" {
			path = "/callback/" + token
		}
		status, answer := r.pushTo(path, "application/json", c.body)
		if status != c.status || (c.answer != "" && answer != c.answer) {
			t.Errorf("%d %s: answer %d %q, want %d %q", i, c.name, status, answer, c.status, c.answer)
		}
		if c.events > 0 {
			shop.wait(before + c.events)
		}
		was, _ := strconv.Atoi(beforeQ)
		until(t, fmt.Sprintf("%d %s: %d more in quarantine", i, c.name, c.quarantined), func() bool {
			return r.metric(`kuairelay_events_total{result="quarantined"}`) == strconv.Itoa(was+c.quarantined)
		})
	}
	for _, entry := range r.logs.All() {
		line, err := json.Marshal(entry.ContextMap())
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{marker, token, secret} {
			if strings.Contains(entry.Message+string(line), secret) {
				t.Errorf("the log has %q: %s %s", secret, entry.Message, line)
			}
		}
	}
}

func TestACallbackThatIsCutOffIsNoSuccess(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, nil)
	r := start(t, one(shop.URL, ""))
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.public, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	body := callback(item("1", "signed", "2026-11-23 10:00:00"))
	if _, err := fmt.Fprintf(conn, "POST /callback/%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", token,
		len(body)+10, body); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || strings.Contains(string(answer), "200") {
		t.Errorf("answer %q, %v", answer, err)
	}
	if n := r.metric(`kuairelay_events_total{result="new"}`); n != "0" {
		t.Errorf("%s events", n)
	}
}

func TestThreeThousandItemsAreAllDeliveredInOrder(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, nil)
	r := start(t, "redis: {url: '"+redisserver.Start(t).URL()+"'}"+one(shop.URL, ""))
	var items []string
	for i := range 3000 {
		items = append(items, item(strconv.Itoa(i%50), "sending", fmt.Sprintf("%05d", i)))
	}
	if status, answer := r.push("application/json", callback(items...)); status != 200 || answer != "success" {
		t.Fatalf("answer %d %q", status, answer)
	}
	shop.wait(3000)
	checkOrder(t, "shop", shop.all(), 3000)
}

func TestTheSameCallbackAThousandTimesIsOneEvent(t *testing.T) {
	t.Parallel()
	a, b := newTenant(t, nil), newTenant(t, nil)
	r := start(t, "redis: {url: '"+redisserver.Start(t).URL()+"'}"+`
tenants:
  - name: t
    endpoints:
      - {name: a, url: "`+a.URL+`", secrets: [`+secret+`]}
      - {name: b, url: "`+b.URL+`", secrets: [`+secret+`]}
    routes: [{to: [a, b]}]
`)
	body := callback(item("1", "signed", "2026-11-23 10:00:00"))
	var left atomic.Int64
	left.Store(1000)
	var clients sync.WaitGroup
	for range 64 {
		clients.Go(func() {
			for left.Add(-1) >= 0 {
				if status, answer := r.push("application/json", body); status != 200 || answer != "success" {
					t.Errorf("answer %d %q", status, answer)
				}
			}
		})
	}
	clients.Wait()
	a.wait(1)
	b.wait(1)
	for series, want := range map[string]string{
		`kuairelay_events_total{result="new"}`:                           "1",
		`kuairelay_deliveries_total{endpoint="t/a",outcome="delivered"}`: "1",
		`kuairelay_deliveries_total{endpoint="t/b",outcome="delivered"}`: "1",
		`kuairelay_queue_depth{endpoint="t/a",state="open"}`:             "0",
	} {
		until(t, series+" is "+want, func() bool { return r.metric(series) == want })
	}
	until(t, "the others are duplicates", func() bool {
		return r.count(`kuairelay_events_total{result="duplicate"}`) >= 999
	})
	// What was refused may have been accepted all the same, and came again.
	n := r.count(`kuairelay_events_total{result="duplicate"}`)
	if again := r.count(`kuairelay_callbacks_total{answer="failure"}`); n > 999+again {
		t.Errorf("%d duplicates, and %d callbacks came again", n, again)
	}
	if len(a.all()) != 1 || len(b.all()) != 1 {
		t.Errorf("%d and %d requests", len(a.all()), len(b.all()))
	}
}

func TestTheProvidersCheckOfTheURLIsAnswered(t *testing.T) {
	t.Parallel()
	r := start(t, one("http://127.0.0.1:1", ""))
	if status, answer := r.get(r.public + "/callback/" + token); status != 200 || answer != "success" {
		t.Errorf("answer %d %q", status, answer)
	}
	if status, answer := r.get(r.public + "/callback/wrong-token"); status != 404 ||
		!strings.Contains(answer, `"status":404`) {
		t.Errorf("answer %d %q", status, answer)
	}
}

func TestTheLogSaysWhichTokenACallbackHadWhileThereAreSeveral(t *testing.T) {
	t.Parallel()
	places := func(r *running, tokens ...string) (all []any) {
		for _, x := range tokens {
			r.post("/callback/"+x, "application/json", callback(item("1", "signed", "2026-11-23 09:00:00")))
		}
		for _, entry := range r.logs.FilterMessage("callback").All() {
			all = append(all, entry.ContextMap()["token"])
		}
		return all
	}
	both := start(t, "callback: {tokens: [the-new-token, the-old-token]}\n"+one("http://127.0.0.1:1", ""))
	if got := places(both, "the-old-token", "the-new-token", "neither-of-them"); !slices.Equal(got,
		[]any{int64(2), int64(1), nil}) {
		t.Errorf("the tokens of two are %v", got)
	}
	if got := places(start(t, one("http://127.0.0.1:1", "")), token); !slices.Equal(got, []any{nil}) {
		t.Errorf("the token of one is %v", got)
	}
}

func TestAddressesOutsideTheListAreStrangers(t *testing.T) {
	t.Parallel()
	r := start(t, "callback: {tokens: ["+token+"], allow_cidrs: [10.1.2.0/24]}\n"+one("http://127.0.0.1:1", ""))
	if status, _ := r.push("application/json", callback()); status != 404 {
		t.Errorf("answer %d", status)
	}
	proxied := start(t, "callback: {tokens: ["+token+"], allow_cidrs: [10.1.2.0/24]}\n"+one("http://127.0.0.1:1", ""))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, proxied.public+"/callback/"+token, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Forwarded-For", "10.1.2.3")
	if status, _ := proxied.do(req); status != 404 {
		t.Errorf("a header from an untrusted address was believed: %d", status)
	}
}

func TestAListedAddressIsLetInHoweverAProxyWritesIt(t *testing.T) {
	t.Parallel()
	const listed = "callback: {tokens: [" + token +
		"], allow_cidrs: [127.0.0.0/8, '::1/128', 203.0.113.7, '2001:db8::/32']}\n"
	direct := start(t, listed+one("http://127.0.0.1:1", ""))
	if status, answer := direct.push("application/json", callback()); status != 200 {
		t.Errorf("from a listed address: %d %q", status, answer)
	}

	const behind = "server: {listen: '127.0.0.1:0', trusted_proxies: [127.0.0.1, '::1']}\ncallback: {tokens: [" + token +
		"], allow_cidrs: [203.0.113.7, '2001:db8::/32']}\n"
	proxied := start(t, behind+one("http://127.0.0.1:1", ""))
	for forwarded, want := range map[string]int{
		"203.0.113.7": 200, "203.0.113.7:44321": 200, "[2001:db8::5]:443": 200, "203.0.113.7,": 200,
		"203.0.113.8": 404, "203.0.113.8:44321": 404, "unknown": 404, "": 404, "203.0.113.7, 203.0.113.8": 404,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, proxied.public+"/callback/"+token,
			strings.NewReader(callback()))
		must(t, err)
		req.Header.Set("X-Forwarded-For", forwarded)
		if status, _ := proxied.do(req); status != want {
			t.Errorf("forwarded for %q: %d, want %d", forwarded, status, want)
		}
	}
}

func TestACallbackInGBKIsRead(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, nil)
	r := start(t, one(shop.URL, ""))
	const form = "type=express_sub_msg&data[0][no]=1&data[0][data][0][context]="
	if status, answer := r.push("application/x-www-form-urlencoded; charset=GBK",
		form+"%D2%D1%C7%A9%CA%D5"); status != 200 {
		t.Errorf("answer %d %q", status, answer)
	}
	if got := shop.wait(1)[0]; !strings.Contains(got.body, "已签收") {
		t.Errorf("delivered: %s", got.body)
	}
}

func TestACompressedCallbackIsRead(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, nil)
	r := start(t, "callback: {tokens: ["+token+"], max_body: 64KiB}\n"+one(shop.URL, ""))
	push := func(encoding string, body []byte) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.public+"/callback/"+token,
			bytes.NewReader(body))
		must(t, err)
		req.Header.Set("Content-Encoding", encoding)
		return r.do(req)
	}
	zipped := func(body string) []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, err := io.WriteString(w, body)
		must(t, err)
		must(t, w.Close())
		return b.Bytes()
	}
	var deflated bytes.Buffer
	w := zlib.NewWriter(&deflated)
	_, err := io.WriteString(w, callback(item("4", "signed", "1")))
	must(t, err)
	must(t, w.Close())

	for i, c := range []struct {
		encoding string
		body     []byte
	}{
		{"gzip", zipped(callback(item("1", "signed", "1")))},
		{"", zipped(callback(item("2", "signed", "1")))},
		{"gzip", []byte(callback(item("3", "signed", "1")))}, // a proxy unpacked it, and left the header
		{"deflate", deflated.Bytes()},
		{"identity", []byte(callback(item("5", "signed", "1")))},
	} {
		if status, answer := push(c.encoding, c.body); status != 200 {
			t.Errorf("%d: answer %d %q", i, status, answer)
		}
		shop.wait(i + 1)
	}
	if status, _ := push("gzip", zipped(strings.Repeat(" ", 64<<10)+"{}")); status != 413 {
		t.Errorf("too large unpacked: answer %d", status)
	}
	damaged := zipped(callback(item("6", "signed", "1")))
	for _, body := range [][]byte{damaged[:len(damaged)-9], damaged[:5]} {
		if status, answer := push("gzip", body); status != 200 || answer != "success" {
			t.Errorf("damaged: answer %d %q", status, answer)
		}
	}
	until(t, "two in quarantine", func() bool { return r.metric(`kuairelay_events_total{result="quarantined"}`) == "2" })
}

func TestACallbackOfUnknownLengthIsRead(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, nil)
	r := start(t, "callback: {tokens: ["+token+"], max_body: 64KiB}\n"+one(shop.URL, ""))
	push := func(body string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.public+"/callback/"+token,
			io.MultiReader(strings.NewReader(body)))
		must(t, err)
		return r.do(req)
	}
	if status, answer := push(callback(item("1", "signed", "1"))); status != 200 || answer != "success" {
		t.Errorf("answer %d %q", status, answer)
	}
	shop.wait(1)
	if status, answer := push(strings.Repeat(" ", 64<<10) + "{"); status != 413 || answer != "failure" {
		t.Errorf("too large: answer %d %q", status, answer)
	}
}

func TestTheCallbackURLMayBeWrittenInManyWays(t *testing.T) {
	t.Parallel()
	r := start(t, one("http://127.0.0.1:1", ""))
	for path, want := range map[string]int{
		"/callback/" + token: 200, "/callback/" + token + "/": 200, "//callback/" + token: 200,
		"/callback/" + token + "?x=1":                           200,
		"/callback/%" + fmt.Sprintf("%X", token[0]) + token[1:]: 200, "/callback/" + token + "%2525": 404,
		"/callback/%" + fmt.Sprintf("%X", token[0]) + token[1:] + "/": 200,
		"/callback/" + token + "x/":                                   404, "/callback/" + token + "/x": 404,
		"/callback//" + token: 404, "/callback/abc": 404,
	} {
		if status, _ := r.pushTo(path, "application/json", callback()); status != want {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
	}
	for path, want := range map[string]int{"/callback/" + token: 200, "/callback/wrong-token": 404} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodHead, r.public+path, nil)
		must(t, err)
		if status, _ := r.do(req); status != want {
			t.Errorf("HEAD %s: %d, want %d", path, status, want)
		}
	}
}

func TestShutdownDoesNotWaitForAnUploadThatHangs(t *testing.T) {
	t.Parallel()
	r := start(t, one("http://127.0.0.1:1", ""))
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.public, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := fmt.Fprintf(conn, "POST /callback/%s HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf",
		token); err != nil {
		t.Fatal(err)
	}
	until(t, "the relay is busy with it", func() bool { status, _ := r.get(r.public + "/healthz"); return status == 200 })
	r.stop()
	if err := <-r.done; err != nil {
		t.Errorf("it ended with: %v", err)
	}
	r.done <- nil
}

func TestShutdownLeavesInTheSpoolWhatRedisDoesNotTake(t *testing.T) {
	t.Parallel()
	redis := redisserver.Start(t)
	r := start(t, "redis: {url: '"+redis.URL()+"'}"+one("http://127.0.0.1:1", ""))
	ask(t, redis, "SET", "{kuairelay}2:w:poisoned", "no hash")
	r.mustPush(callback(item("poisoned", "signed", "1")))
	r.end()
	if n := len(spooled(t, r.spool)); n != 1 {
		t.Errorf("%d files are left", n)
	}
}

func TestShutdownFinishesWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	under, release := make(chan struct{}), make(chan struct{})
	shop := newTenant(t, func(_ http.ResponseWriter, n int, _ received) {
		if n == 1 {
			close(under)
			<-release
		}
	})
	redis := redisserver.Start(t)
	r := start(t, "redis: {url: '"+redis.URL()+"'}"+one(shop.URL, ""))
	r.push("application/json", callback(item("1", "sending", "1"), item("1", "signed", "2")))
	<-under
	r.stop()
	time.AfterFunc(time.Second, func() { close(release) }) // the pool has long stopped then, and its grace is not over
	if err := <-r.done; err != nil {
		t.Error(err)
	}
	r.done <- nil
	if n := len(shop.all()); n != 1 {
		t.Errorf("%d attempts, want the one that was under way", n)
	}
	// The next replica finds the rest due at once.
	start(t, "redis: {url: '"+redis.URL()+"'}"+one(shop.URL, ""))
	got := shop.wait(2)
	if !strings.Contains(got[1].body, "waybill.signed") || got[1].header.Get("Kuairelay-Reason") != "new" {
		t.Errorf("then came %s, %v", got[1].body, got[1].header)
	}
}
