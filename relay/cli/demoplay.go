package cli

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/kuaidihelp/fake"
	"kuairelay/relay/subscribe"
)

// journey is the statuses that each parcel of the demo goes through.
var journey = []string{
	kuaidihelp.StatusCollected, kuaidihelp.StatusSending, kuaidihelp.StatusDelivering,
	kuaidihelp.StatusQuestion, kuaidihelp.StatusAllograph, kuaidihelp.StatusSigned,
}

// play shows the demo and sums it up. If the demo stays, it then serves until ctx ends.
func (d *demoRun) play(ctx context.Context) error {
	fmt.Fprint(d.out.w, "A kuaidihelp that is played, the relay, and two tenants: shop wants all updates of the\n"+
		"parcels that it subscribes, alerts only signed and question. Each line below the subscriptions is a\n"+
		"webhook as a tenant gets it, and whether its signature is right.\n\n")

	parcels := d.parcels()
	if err := d.subscribe(ctx, parcels); err != nil {
		return err
	}

	// The head of the lines that the scoreboard prints.
	d.out.row(label("SECONDS", 7), label("TENANT", 6), label("SIG", 3), label("ANSWER", 6), label("TYPE", 18),
		label("WAYBILL", 15), label("REASON", 8), label("SEQUENCE", 0))

	callbacks, err := d.deliver(ctx, parcels)
	switch {
	case ctx.Err() != nil:
		err = nil // somebody has seen enough
	case err == nil:
		d.summary(callbacks)
		if d.stay {
			d.invite()
			return d.keepPushing(ctx)
		}
	}
	return err
}

// deliver pushes the updates of the parcels, has the second tenant subscribe the first parcel late, and waits each
// time until all is delivered. It returns how many callbacks were pushed.
func (d *demoRun) deliver(ctx context.Context, parcels []*fake.Parcel) (callbacks int, err error) {
	callbacks, err = d.push(ctx, parcels)
	if err != nil {
		return callbacks, err
	}

	if err := d.await(ctx, callbacks); err != nil {
		return callbacks, err
	}

	// kuaidihelp pushes this parcel already: the relay makes no call, and the tenant gets its last update at once.
	if err := d.ask(ctx, d.tenants[1], parcels[0], journey[len(journey)-1]); err != nil {
		return callbacks, err
	}

	return callbacks, d.await(ctx, callbacks)
}

// parcels makes up three parcels, of three brands.
func (d *demoRun) parcels() []*fake.Parcel {
	parcels := fake.NewParcels(uint64(time.Now().UnixNano()), []string{kuaidihelp.ZT, kuaidihelp.STO, kuaidihelp.YD})
	return []*fake.Parcel{parcels.New(), parcels.New(), parcels.New()}
}

// subscribe has shop ask for the first two parcels, and alerts for the last two.
func (d *demoRun) subscribe(ctx context.Context, parcels []*fake.Parcel) error {
	d.out.row(label("TENANT", 6), label("BRAND", 5), label("WAYBILL", 15), label("RESULT", 10), label("CALLS", 0))

	for i, t := range d.tenants {
		for _, parcel := range parcels[i : i+2] {
			if err := d.ask(ctx, t, parcel, journey...); err != nil {
				return err
			}
		}
	}

	fmt.Fprintln(d.out.w)
	return nil
}

// ask has a tenant subscribe a parcel, and shows the result and how many calls kuaidihelp has got by then. The tenant
// is owed those of the statuses given that it wants.
func (d *demoRun) ask(ctx context.Context, t *demoTenant, parcel *fake.Parcel, statuses ...string) error {
	// What is owed is noted first, because a webhook may arrive before the call returns.
	d.score.mu.Lock()
	for _, status := range statuses {
		if t.wants(status) {
			t.owed[update{parcel.WaybillCode, status}] = true
		}
	}
	d.score.mu.Unlock()

	c, err := (&apiFlags{url: d.public, key: t.key}).tenantClient()
	if err != nil {
		return err
	}
	results, err := c.subscribe(ctx, parcel.CPCode, []string{parcel.WaybillCode})
	if err != nil {
		return err
	}

	r := results[0]
	mark := good
	if r.Result != subscribe.Subscribed || !d.provider.HasSubscribed(parcel.CPCode, parcel.WaybillCode) {
		mark = bad
		err = fmt.Errorf("%s could not subscribe %s: %s %s", t.name, r.WaybillCode, r.Result, r.Msg)
	}

	d.score.mu.Lock()
	defer d.score.mu.Unlock()
	d.out.row(column(t.name, 6), column(r.CPCode, 5), column(r.WaybillCode, 15),
		cell{text: string(r.Result), width: 10, mark: mark}, column(strconv.Itoa(len(d.provider.Calls())), 0))
	return err
}

// push pushes the updates of the parcels, each in another encoding, and the first once more in yet another one. It
// returns how many callbacks that made.
func (d *demoRun) push(ctx context.Context, parcels []*fake.Parcel) (int, error) {
	d.score.mu.Lock()
	d.score.refuse = update{parcels[0].WaybillCode, journey[1]}
	d.score.began = time.Now()
	d.score.mu.Unlock()

	encodings := fake.Encodings()
	n := 0 // callbacks
	for i, status := range journey {
		for j, parcel := range parcels {
			item := parcel.Update(status)
			d.score.mu.Lock()
			d.score.pushed[update{item.WaybillCode, status}] = time.Now()
			d.score.mu.Unlock()

			// The first update of all is pushed twice, as a duplicate in another encoding.
			times := 1
			if i == 0 && j == 0 {
				times = 2
			}

			for t := range times {
				if err := d.pushOne(ctx, encodings[(i+2*j+t)%len(encodings)], item); err != nil {
					return n, err
				}
				n++
			}
		}
	}
	return n, nil
}

func (d *demoRun) pushOne(ctx context.Context, encoding string, item fake.Item) error {
	contentType, body, err := fake.Encode(encoding, []fake.Item{item})
	if err != nil {
		return err
	}

	status, answer, err := fake.Push(ctx, nil, d.callbackURL(), contentType, body)
	if err == nil && (status != http.StatusOK || answer != "success") {
		err = fmt.Errorf("a callback was answered %d %s", status, oneLine([]byte(answer)))
	}
	return err
}

func (d *demoRun) callbackURL() string { return d.public + "/callback/" + demoToken }

// await waits until every tenant has got what it is owed, and the relay's metrics agree. After d.wait, its error
// lists what differs.
func (d *demoRun) await(ctx context.Context, callbacks int) error {
	wait, done := context.WithTimeout(ctx, d.wait)
	defer done()

	// Every update is new once. Those that no tenant is owed are unrouted. One callback came twice.
	want := map[string]int{
		`kuairelay_callbacks_total{answer="success"}`:                     callbacks,
		`kuairelay_events_total{result="new"}`:                            d.routed(),
		`kuairelay_events_total{result="unrouted"}`:                       callbacks - 1 - d.routed(),
		`kuairelay_events_total{result="duplicate"}`:                      1,
		`kuairelay_events_total{result="quarantined"}`:                    0,
		delivered(d.tenants[0]):                                           d.owed(d.tenants[0]),
		delivered(d.tenants[1]):                                           d.owed(d.tenants[1]),
		`kuairelay_attempts_total{endpoint="shop/hooks",outcome="retry"}`: 1,
	}

	var amiss []string
	for {
		now := d.score.missing(d.tenants)
		if len(now) == 0 {
			now = differ(wait, d.admin+"/metrics", want)
		}

		if amiss == nil || wait.Err() == nil { // otherwise it only says that there is no time left
			amiss = now
		}

		if wrong := d.score.whatIsWrong(); len(wrong) > 0 {
			return fmt.Errorf("the demo failed:\n  %s", strings.Join(wrong, "\n  "))
		}
		if len(amiss) == 0 {
			return nil
		}

		select {
		case <-time.After(10 * time.Millisecond):
		case <-wait.Done():
			return fmt.Errorf("the demo failed, after %s:\n  %s", d.wait, strings.Join(amiss, "\n  "))
		}
	}
}

func delivered(t *demoTenant) string {
	return `kuairelay_deliveries_total{endpoint="` + t.name + `/hooks",outcome="delivered"}`
}

// owed returns how many updates a tenant is owed.
func (d *demoRun) owed(t *demoTenant) int {
	d.score.mu.Lock()
	defer d.score.mu.Unlock()
	return len(t.owed)
}

// routed returns how many updates at least one tenant is owed.
func (d *demoRun) routed() int {
	d.score.mu.Lock()
	defer d.score.mu.Unlock()

	all := map[update]bool{}
	for _, t := range d.tenants {
		maps.Copy(all, t.owed)
	}
	return len(all)
}

// differ lists the metrics at an address that are not what they should be.
func differ(ctx context.Context, address string, want map[string]int) []string {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return []string{err.Error()}
	}

	response, err := httpClient(1, time.Minute).Do(request)
	if err != nil {
		return []string{err.Error()}
	}
	defer response.Body.Close()

	got := map[string]string{}

	// Each line of a metrics page is a name with its labels, and a value.
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		if i := strings.LastIndexByte(lines.Text(), ' '); i > 0 {
			got[lines.Text()[:i]] = lines.Text()[i+1:]
		}
	}

	var out []string
	for name, n := range want {
		if got[name] != strconv.Itoa(n) {
			out = append(out, fmt.Sprintf("%s is %q, not %d", name, got[name], n))
		}
	}
	slices.Sort(out)
	return out
}

// summary says what happened. All of it was checked before.
func (d *demoRun) summary(callbacks int) {
	routed := d.routed()
	d.score.mu.Lock()
	defer d.score.mu.Unlock()

	b := d.score
	slices.Sort(b.latency)

	counts := make([]string, len(d.tenants))
	for i, t := range d.tenants {
		counts[i] = fmt.Sprintf("%s %d", t.name, len(b.got[t]))
	}

	fmt.Fprintf(d.out.w, `
calls       %d to kuaidihelp, for 5 subscriptions of 3 parcels; the tenants do not hold its API key
callbacks   %d, in %d encodings; every one answered success
events      %d new, %d of them of a parcel or status that nobody subscribed; 1 duplicate (in another encoding) dropped
deliveries  %s; every signature verified, each waybill in order
retries     %d: shop answered 500 once, and got the same webhook again
latency     p50 %.1f ms, max %.1f ms, from the push to the tenant
`, len(d.provider.Calls()), callbacks, len(fake.Encodings()), callbacks-1, callbacks-1-routed,
		strings.Join(counts, ", "), b.retried,
		milliseconds(quantile(b.latency, 0.5)), milliseconds(quantile(b.latency, 1)))
}

// invite says how to try more.
func (d *demoRun) invite() {
	const item = `{"waybill_code":"75000000000001","cp_code":"zt","status":"signed",` +
		`"data":[{"time":"2026-01-09 18:30:00","context":"signed for","status":"signed"}]}`
	fmt.Fprintf(d.out.w, `
Still serving; Ctrl-C stops it. An update comes every two seconds. Look at the pages, as the operator or as a tenant:

  %s/           log in with  %s
  %s/console/   log in with  %s

Subscribe a parcel and push a callback for it yourself (a second time it is a duplicate), or look at the metrics:

  %s=%s %s subscribe --url %s zt 75000000000001
  curl %s -d type=express_sub_msg --data-urlencode 'data=[%s]'
  %s send --to %s --encoding all
  curl %s/metrics

`, d.admin, d.token, d.public, d.tenants[0].key,
		apiKeyVariable, d.tenants[0].key, self(), d.public, d.callbackURL(), item, self(), d.callbackURL(), d.admin)
}

// pushEvery is how often an update comes while the demo stays.
const pushEvery = 2 * time.Second

// keepPushing pushes updates of new parcels, which the first tenant subscribes, until ctx ends. They are not printed.
func (d *demoRun) keepPushing(ctx context.Context) error {
	c, err := (&apiFlags{url: d.public, key: d.tenants[0].key}).tenantClient()
	if err != nil {
		return err
	}

	parcels := fake.NewParcels(uint64(time.Now().UnixNano()), kuaidihelp.Brands())
	encodings := fake.Encodings()
	for n := 0; ; n++ {
		parcel := parcels.New()
		d.score.mute(parcel.WaybillCode)
		if _, err := c.subscribe(ctx, parcel.CPCode, []string{parcel.WaybillCode}); err != nil && ctx.Err() == nil {
			return err
		}
		for _, status := range journey {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(pushEvery):
			}
			if err := d.pushOne(ctx, encodings[n%len(encodings)], parcel.Update(status)); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}
