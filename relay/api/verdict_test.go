package api

import (
	"strings"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/ledger"
)

// came is an event with a status that came so long before noon, with these deliveries.
func came(status string, ago time.Duration, deliveries ...Delivery) Event {
	return Event{Type: event.TypeWaybill, Status: status, AcceptedAt: noon.Add(-ago), Deliveries: deliveries}
}

func TestTheVerdictOnAWaybillWithUpdatesIsThatOfItsWorstEndpoint(t *testing.T) {
	t.Parallel()
	delivered := func(endpoint string) Delivery { return Delivery{Endpoint: endpoint, State: event.StateDelivered} }
	waiting := Delivery{Endpoint: "shop/b", State: event.StateWaiting}
	retrying := Delivery{Endpoint: "shop/b", State: event.StateRetrying, DueAt: noon.Add(time.Hour),
		Tries: []Attempt{{Status: 503}}}
	paused := Delivery{Endpoint: "shop/b", State: event.StateQueued, Parked: &Parked{State: "paused", Since: noon}}
	dead := Delivery{Endpoint: "shop/orders", State: event.StateDead, Why: "the receiver refuses this body: 422"}
	dismissed := Delivery{Endpoint: "shop/a", State: event.StateDismissed}
	for _, x := range []struct {
		events           []Event
		code             VerdictCode
		text, next, none string
	}{
		{events: []Event{came("signed", 0, delivered("shop/a"))}, code: VerdictDelivered,
			text: "1 update came, at 2026-11-24T12:00:00Z: signed; shop/a has it"},
		{events: []Event{came("collected", time.Hour, delivered("shop/a")), came("signed", 0, delivered("shop/a"))},
			code: VerdictDelivered, text: "2 updates came, the latest at 2026-11-24T12:00:00Z: signed; shop/a has all 2"},
		{events: []Event{came("sending", time.Hour, delivered("shop/a")),
			{Type: event.TypeStalled, AcceptedAt: noon, Deliveries: []Delivery{delivered("shop/a")}}}, code: VerdictDelivered,
			text: "2 events, the latest at 2026-11-24T12:00:00Z: waybill.stalled; shop/a has all 2", none: "update"},
		{events: []Event{{Type: event.TypeNotCollected, AcceptedAt: noon, Deliveries: []Delivery{delivered("shop/a")}}},
			code: VerdictDelivered, text: "1 event, at 2026-11-24T12:00:00Z: waybill.not_collected; shop/a has it"},
		{events: []Event{came("", 0)}, code: VerdictUnrouted, text: "an update without a status; owed to nobody",
			next: "see why no route matches"},
		{events: []Event{came("a", time.Hour, retrying, delivered("shop/a")), came("b", 0, waiting, delivered("shop/a"))},
			code: VerdictOpen, next: "mend the receiver",
			text: "shop/b has 0 of 2: retrying after 503, the next attempt at 2026-11-24T13:00:00Z; shop/a has all 2"},
		{events: []Event{came("a", 0, paused, delivered("shop/a"))}, code: VerdictParked,
			text: "shop/b: queued; the endpoint is paused since 2026-11-24T12:00:00Z; shop/a has it",
			next: "kuairelay resume shop/b"},
		{events: []Event{came("a", 0, paused, dead)}, code: VerdictDead,
			text: "shop/orders: a dead letter: the receiver refuses this body: 422; shop/b: queued",
			next: "kuairelay dead-letters redrive --endpoint shop/orders"},
		{events: []Event{came("a", 0, dismissed)}, code: VerdictDismissed, text: "shop/a: dismissed"},
		{events: []Event{came("a", 0, delivered("a/1"), delivered("a/2"), delivered("a/3"), delivered("a/4"),
			delivered("a/5"), delivered("a/6"), delivered("a/7"))}, code: VerdictDelivered,
			text: "a/5 has it; 2 more endpoints", none: "a/6"},
	} {
		got := verdictOfEvents(x.events, func(string) bool { return true })
		if got.Code != x.code || !strings.Contains(got.Text, x.text) || !strings.Contains(got.Next, x.next) ||
			(got.Next == "") != (x.next == "") || x.none != "" && strings.Contains(got.Text, x.none) {
			t.Errorf("%+v\nwant %+v", got, x)
		}
	}
}

func TestTheVerdictOnAWaybillWithoutUpdatesNamesTheFirstCause(t *testing.T) {
	t.Parallel()
	b := newBench(Options{LastCallback: func() (time.Time, bool) { return noon, false }})
	b.Use(Settings{Retention: 48 * time.Hour})
	subscribed := func(state ledger.State) []ledger.Subscription {
		return []ledger.Subscription{{Tenant: "shop", Waybill: event.Waybill{CPCode: "zt", Code: "1"}, Since: noon,
			State: state, Answer: ledger.Answer{Code: 201101, Msg: "no record"}}}
	}
	last := &WaybillHistory{AcceptedAt: noon, Statuses: []BrandStatus{{CPCode: "zt", Status: "signed"}}}
	update := &event.Record{Event: event.Event{CPCode: "zt"}}
	for _, x := range []struct {
		tenant     string
		f          findings
		code       VerdictCode
		text, none string
	}{
		{f: findings{}, code: VerdictUnknown, text: "no update of this waybill is known, or it is no longer kept"},
		{f: findings{subscriptions: subscribed("")[:0]}, code: VerdictUnsubscribed, text: "no tenant has subscribed it"},
		{f: findings{subscriptions: subscribed(ledger.Live)}, code: VerdictAwaited, text: "shop has subscribed it as zt"},
		{f: findings{subscriptions: subscribed(ledger.Pending)}, code: VerdictPending, text: "has not accepted it yet"},
		{f: findings{subscriptions: subscribed(ledger.Failed)}, code: VerdictFailed, text: "refused it: 201101 no record"},
		{f: findings{subscriptions: subscribed(ledger.Live), last: last}, code: VerdictExpired,
			text: "its last update was accepted at 2026-11-24T12:00:00Z (signed), and events are kept for 48h after their"},
		{f: findings{quarantined: []Quarantined{{ID: "qtn_1"}}, last: last}, code: VerdictQuarantined,
			text: "kuairelay quarantine show qtn_1"},
		{f: findings{spooled: make([]Spooled, 1), quarantined: []Quarantined{{ID: "qtn_1"}}}, code: VerdictSpooled,
			text: "waits in this replica's spool"},

		// A tenant is told nothing of a waybill that it has not subscribed, and never of quarantine or of others.
		{tenant: "shop", f: findings{subscriptions: subscribed("")[:0]}, code: VerdictUnsubscribed,
			text: "you have not subscribed it"},
		{tenant: "shop", f: findings{subscriptions: subscribed(ledger.Live), quarantined: make([]Quarantined, 1)},
			code: VerdictAwaited, text: "you have subscribed it as zt since", none: "quarantine"},
		{tenant: "shop", f: findings{subscriptions: subscribed(ledger.Live), hidden: []*event.Record{update}, last: last},
			code: VerdictNotOwed, text: "1 of its updates came as zt, but matched none of your routes", none: "accepted at"},
	} {
		c, _ := b.call(x.tenant, "/", "")
		got := c.verdict(&x.f)
		if got.Code != x.code || !strings.Contains(got.Text, x.text) || x.none != "" && strings.Contains(got.Text, x.none) {
			t.Errorf("%+v\nwant %s, %s", got, x.code, x.text)
		}
	}
}
