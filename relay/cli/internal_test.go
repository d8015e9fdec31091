package cli

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"kuairelay/relay/api"
	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/kuaidihelp/fake"
	"kuairelay/relay/ledger"
	"kuairelay/relay/signature"
)

func TestDemoFailsWhenSomethingIsNotAsPromised(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(d *demoRun)
		want  string
	}{
		"an update does not arrive": {func(d *demoRun) {
			d.tenants[0].match = ", status: [signed, sending]"
		}, "shop has not got collected of "},
		"one arrives that nobody asked for": {func(d *demoRun) { d.tenants[1].match = "" }, "which it is not owed"},
		"the numbers of the relay differ":   {func(d *demoRun) { d.score.refused = 1 }, `outcome="retry"} is "", not 1`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDemoRun(newScreen(&bytes.Buffer{}), 10*time.Second)
			c.spoil(d)
			if err := d.run(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestStatusOfARelayWithoutEndpointsCountsNone(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	printStatus(&out, api.Status{Ready: true})
	if !strings.Contains(out.String(), "endpoints   0\n") {
		t.Errorf("%s", &out)
	}
}

func TestADeliveredUpdateIsShownWithItsReason(t *testing.T) {
	t.Parallel()
	for _, reason := range []event.Reason{event.ReasonNew, event.ReasonRedrive} {
		d := api.Delivery{State: event.StateDelivered, Reason: string(reason)}
		if got := next(d, nil, time.Now()); got != "as "+string(reason) {
			t.Errorf("%q", got)
		}
	}
}

func TestDemoFailsWhenASignatureIsWrong(t *testing.T) {
	t.Parallel()
	d := newDemoRun(newScreen(&bytes.Buffer{}), 10*time.Second)
	keys, err := parseKeys("test", []string{d.tenants[0].secret})
	if err != nil {
		t.Fatal(err)
	}
	d.score.show(d.tenants[0], webhook{Error: signature.Verify(keys, nil, nil, time.Now(), 0).Error()})
	if err := d.run(t.Context()); err == nil ||
		!strings.Contains(err.Error(), "shop got a webhook that does not verify: not signed") {
		t.Errorf("got %v", err)
	}
}

// shared is a buffer that can be read while it is written to.
type shared struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *shared) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestDemoStaysAndShowsWhatIsPushedToIt(t *testing.T) {
	t.Parallel()
	var out shared
	d := newDemoRun(newScreen(&out), demoWait)
	d.stay = true
	ctx, interrupt := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.run(ctx) }()
	eventually(t, "it invites", func() bool { return strings.Contains(out.String(), "Still serving; Ctrl-C stops it.") })
	_, rest, _ := strings.Cut(out.String(), "curl ")
	address, _, _ := strings.Cut(rest, " ")
	for _, tenant := range d.tenants {
		c, err := (&apiFlags{url: d.public, key: tenant.key}).tenantClient()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := c.subscribe(ctx, kuaidihelp.ZT, []string{"75000000000001"}); err != nil ||
			got[0].Result != "subscribed" {
			t.Fatalf("%+v %v", got, err)
		}
	}
	contentType, body, err := fake.Encode(fake.Form,
		[]fake.Item{{WaybillCode: "75000000000001", CPCode: kuaidihelp.ZT, Status: kuaidihelp.StatusSigned}})
	if err != nil {
		t.Fatal(err)
	}
	if status, answer, err := fake.Push(ctx, nil, address, contentType, body); status != 200 || answer != "success" ||
		err != nil {
		t.Fatalf("%d %s %v", status, answer, err)
	}
	eventually(t, "both tenants get it", func() bool {
		return strings.Count(out.String(), "waybill.signed      75000000000001 ") == 2
	})
	interrupt()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

func TestSendGoesToTheRelayOfTheExampleUnlessToldOtherwise(t *testing.T) {
	nothing := func(string) bool { return false }
	for token, want := range map[string]string{"": "/callback/change-me-please", "a token": "/callback/a%20token"} {
		t.Setenv("KUAIRELAY_CALLBACK_TOKEN", token)
		o := sendOptions{concurrency: 8, items: 1, encoding: fake.JSON}
		to, err := o.check(false, nothing)
		if err != nil || to.String() != "http://127.0.0.1:8080"+want || redact(to) != "http://127.0.0.1:8080/callback/…" {
			t.Errorf("to %s (%v), shown as %s", to, err, redact(to))
		}
	}
	for address, want := range map[string]string{
		"https://user:password@relay/hunter2?q=hunter2#hunter2": "https://relay/…",
		"https://relay":                  "https://relay/…",
		"https://relay/a/hunter2/hunter": "https://relay/a/…",
	} {
		u, err := httpURL("--to", address)
		if err != nil || redact(u) != want {
			t.Errorf("%s is shown as %s (%v)", address, redact(u), err)
		}
	}
}

func TestRowsFitTheScreen(t *testing.T) {
	t.Parallel()
	cells := []cell{{text: "ab", width: 4, mark: good}, column("✓", 3), marked("waybill", bad)}
	for columns, want := range map[int]string{
		0: "ab    ✓    waybill\n", 80: "ab    ✓    waybill\n", 18: "ab    ✓    waybill\n", 17: "ab    ✓    waybi…\n",
		12: "ab    ✓    …\n", 7: "ab    ✓\n", 2: "ab\n", 1: "…\n",
	} {
		var b bytes.Buffer
		s := &screen{w: &b, columns: func() int { return columns }}
		if s.row(cells...); b.String() != want {
			t.Errorf("%d columns: %q, want %q", columns, b.String(), want)
		}
	}
	var b bytes.Buffer
	if (&screen{w: &b, colours: true}).row(cells...); b.String() != "\x1b[32mab  \x1b[0m  ✓  \x1b[31m  waybill\x1b[0m\n" {
		t.Errorf("%q", b.String())
	}
}

func TestAReceiverForgetsOnlyOldIDs(t *testing.T) {
	t.Parallel()
	var r receiver
	r.count("first")
	for i := range 3 * rememberedIDs {
		if n := r.count(strings.Repeat("x", 1+i%7) + time.Duration(i).String()); n != 1 {
			t.Fatalf("id %d was seen %d times", i, n)
		}
		if len(r.seen)+len(r.before) > 2*rememberedIDs {
			t.Fatalf("it remembers %d", len(r.seen)+len(r.before))
		}
		if i == rememberedIDs-2 && r.count("first") != 2 {
			t.Error("an id was forgotten too early")
		}
	}
}

func TestEndpointsSaysWhichAnswerTwiceAndHowThatEnds(t *testing.T) {
	t.Parallel()
	now := time.Now()
	var out bytes.Buffer
	printEndpoints(&out, []api.EndpointHealth{{Endpoint: "shop/a", State: "ok"},
		{Endpoint: "shop/b", State: "ok", Twice: now.Add(-time.Hour)}}, now)
	for _, want := range []string{"shop/b answers requests twice", "kuairelay resume shop/b"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "shop/a answers") {
		t.Errorf("shop/a does not:\n%s", out.String())
	}
}

func TestAWaybillSaysHowItStands(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, time.November, 24, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		state ledger.ParcelState
		want  string
	}{
		"moved": {ledger.ParcelState{CPCode: "zt", Status: "sending", Subscription: ledger.Live, Source: "push",
			HeardAt: now.Add(-time.Minute)}, "zt sending, subscription live, heard of "},
		"pending": {ledger.ParcelState{CPCode: "zt", Subscription: ledger.Pending},
			"zt without a status, subscription pending\n"},
		"stale": {ledger.ParcelState{CPCode: "zt", Status: "sending", Subscription: ledger.Live, Source: "query",
			HeardAt: now, Stale: true, StaleBecause: "budget"}, " by query, stale: budget\n"},
		"hostile": {ledger.ParcelState{CPCode: "zt", Status: "\x1b[2J", Subscription: ledger.Live}, "zt "},
	} {
		var b bytes.Buffer
		printState(&b, &c.state, now)
		if got := b.String(); !strings.HasPrefix(got, "state ") || !strings.Contains(got, c.want) ||
			strings.Contains(got, "\x1b") {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	var b bytes.Buffer
	printState(&b, nil, now)
	if b.Len() > 0 {
		t.Errorf("not subscribed: %q", b.String())
	}
}
