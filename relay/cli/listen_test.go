package cli_test

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	webhook "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// post posts a body to a tenant, signed by the official library with a secret, and returns status and text of the
// answer.
func post(t *testing.T, url, id, secret, body string) (int, string) {
	t.Helper()
	wh, err := webhook.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	signature, err := wh.Sign(id, now, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("webhook-id", id)
	req.Header.Set("webhook-timestamp", strconv.FormatInt(now.Unix(), 10))
	req.Header.Set("webhook-signature", signature)
	req.Header.Set("kuairelay-sequence", "42")
	req.Header.Set("kuairelay-reason", "retry")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

const update = `{"type":"waybill.signed","timestamp":"2026-01-02T03:04:05.678Z","data":{ "waybill_code": ` +
	`773005949070187, "status":"signed","cp_code":"zt"}}`

func TestListenSaysOfEachWebhookWhetherItVerifies(t *testing.T) {
	t.Parallel()
	c, address := listen(t, "--secret", other, "--secret", secret)
	url := "http://" + address
	if status, _ := post(t, url+"/hooks", "evt_1", secret, update); status != 200 {
		t.Errorf("status %d", status)
	}
	if status, _ := post(t, url+"/hooks", "evt_1", other, update); status != 200 { // the same again, by the other secret
		t.Errorf("status %d", status)
	}
	if status, _ := post(t, url+"/alerts", "evt_1", secret,
		`{"type":"express_sub_msg","data":[{"no":"77","brand":"zt"}]}`); status != 200 {
		t.Errorf("status %d", status)
	}
	status, text := post(t, url, "evt_2", "whsec_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB", update)
	if status != 401 || !strings.HasPrefix(text, "signature does not match") {
		t.Errorf("answer %d %s", status, text)
	}
	got := lines(t, c.stdout)
	if len(got) != 4 {
		t.Fatalf("%s", c.stdout)
	}
	want := delivered{ID: "evt_1", Path: "/hooks", Type: "waybill.signed", Waybill: "773005949070187", Reason: "retry",
		Body: update, Sequence: 42,
		Verified: true, Seen: 1, Answer: 200, Time: got[0].Time}
	if got[0] != want || time.Since(want.Time).Abs() > time.Minute {
		t.Errorf("%+v", got[0])
	}
	if got[1].Seen != 2 || got[2].Seen != 1 || got[2].Waybill != "77" || got[2].Type != "express_sub_msg" {
		t.Errorf("%+v", got[1:3])
	}
	if d := got[3]; d.Verified || d.Answer != 401 || !strings.HasPrefix(d.Error, "signature does not match") {
		t.Errorf("%+v", d)
	}
	c.interrupt()
	if code := c.wait(); code != 0 || !strings.Contains(c.stderr.String(),
		"4 webhooks: 3 verified, 1 not; 1 with an id that came before.") {
		t.Errorf("exit %d: %s", code, c.stderr)
	}
}

func TestListenPrintsAlignedLinesThatNothingFromOutsideCanBreak(t *testing.T) {
	t.Parallel()
	c := start(t, "", "listen", "--listen", "127.0.0.1:0", "--secret", secret)
	url := "http://" + after(t, c.stderr, "Listening on http://", ",")
	post(t, url+"/hooks", "evt_1", secret, update)
	post(t, url+"/hooks", "evt_1", secret, update)
	post(t, url+"/hooks", "evt_2", other, update)
	post(t, url+"/hooks", "evt_3", secret, `{"type":"\u001b[2J\n"}`)
	post(t, url+"/hooks", "evt_4", secret, `not JSON`)
	got := strings.Split(strings.TrimSuffix(c.stdout.String(), "\n"), "\n")
	if len(got) != 6 {
		t.Fatalf("%q", got)
	}
	for i, want := range []string{
		"TIME          SIG  ANSWER  TYPE                WAYBILL          REASON    SEQUENCE       PATH     ID",
		"  ✓    200     waybill.signed      773005949070187  retry     42             /hooks   evt_1",
		"  ✓    200     waybill.signed      773005949070187  retry     42             /hooks (no. 2)  evt_1",
		"  ✗    401     signature does not match: made with another secret, or over another id, timestamp or body",
		"  ✓    200     ·[2J·               -                retry     42             /hooks   evt_3",
		"  ✓    200     -                   -                retry     42             /hooks   evt_4",
	} {
		if !strings.Contains(got[i], want) {
			t.Errorf("no %q in %q", want, got[i])
		}
	}
}

func TestListenAnswersAsItIsTold(t *testing.T) {
	t.Parallel()
	_, address := listen(t, "--secret", secret, "--status", "410", "--delay", "50ms")
	began := time.Now()
	if status, _ := post(t, "http://"+address, "evt_1", secret, update); status != 410 ||
		time.Since(began) < 50*time.Millisecond {
		t.Errorf("status %d after %s", status, time.Since(began))
	}
	_, address = listen(t, "--secret", secret, "--fail-rate", "1")
	if status, _ := post(t, "http://"+address, "evt_1", secret, update); status != 500 {
		t.Errorf("status %d", status)
	}
	resp, err := http.Get("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 405 {
		t.Errorf("GET: status %d", resp.StatusCode)
	}
}

func TestListenStopsThoughAnAnswerIsHeldBack(t *testing.T) {
	t.Parallel()
	c, address := listen(t, "--secret", secret, "--delay", "1h")
	wh, err := webhook.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	signature, _ := wh.Sign("evt_1", time.Now(), []byte(update))
	ended := make(chan error, 1)
	go func() {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address, strings.NewReader(update))
		req.Header = http.Header{"Webhook-Id": {"evt_1"}, "Webhook-Timestamp": {strconv.FormatInt(time.Now().Unix(), 10)},
			"Webhook-Signature": {signature}}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		ended <- err
	}()
	until(t, "the webhook is shown before it is answered", func() bool { return len(lines(t, c.stdout)) == 1 })
	c.interrupt()
	if code := c.wait(); code != 0 {
		t.Errorf("exit %d", code)
	}
	if err := <-ended; err == nil {
		t.Error("it was answered")
	}
}

func TestListenRefusesAPortThatIsInUse(t *testing.T) {
	t.Parallel()
	busy := taken(t)
	code, stdout, stderr := run(t, "", "listen", "--listen", busy)
	if code != 1 || stdout != "" || stderr != "kuairelay: another program listens at "+busy+" (address already in use)\n" {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
}

func TestListenTakesItsSecretFromTheEnvironment(t *testing.T) {
	t.Setenv("SHOP_SECRET", secret)
	c, address := listen(t)
	if status, _ := post(t, "http://"+address, "evt_1", secret, update); status != 200 {
		t.Errorf("status %d", status)
	}
	if !strings.Contains(c.stderr.String(), "1 secret of SHOP_SECRET") {
		t.Errorf("%s", c.stderr)
	}
	t.Setenv("SHOP_SECRET", "hunter2hunter2")
	if code, _, stderr := run(t, "", "listen"); code != 2 ||
		!strings.Contains(stderr, "SHOP_SECRET: secret does not begin with whsec_") || strings.Contains(stderr, "hunter2") {
		t.Errorf("exit %d\n%s", code, stderr)
	}
}
