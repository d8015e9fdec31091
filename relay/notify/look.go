package notify

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
)

const (
	// calmLooks is how many looks pass between two at everything, while nothing is wrong.
	calmLooks = 4
	// settleLooks is for how many looks a problem has to be missing until it is over.
	settleLooks = 4
	// leaseLooks is for how many looks a replica tells for all without asking again.
	leaseLooks = 3
	// leaseLeast is longer than a message takes: what is begun ends before another replica may tell.
	leaseLeast = 2 * sendMost
)

// leading is what a replica knows that tells for all.
type leading struct {
	read    bool                         // told is what Redis has
	told    map[string]map[string]record // by the id of the receiver, and the key of the problem
	watches map[string]*watch            // by tenant
	next    time.Time                    // of the next look at everything
	forget  map[string]string            // stale records, which go with the next ones that are written
}

// alone is what a replica has told by itself, while Redis did not answer.
type alone struct {
	watch watch     // of what it sees itself
	since time.Time // zero: Redis answers
	told  map[string]map[string]record
}

// look looks once what is wrong, and begins to send what is due.
func (n *Notifier) look(ctx context.Context) {
	n.mu.Lock()
	nobody := len(n.receivers) == 0
	n.mu.Unlock()
	if nobody {
		return
	}

	now := n.o.Now()
	own := n.o.Own()
	n.mu.Lock()
	n.own.watch.settle = settleLooks * n.o.Look
	n.own.watch.look(now, own, true)
	n.mu.Unlock()

	err := n.handOver(ctx)
	leads, anew := false, false
	if err == nil {
		leads, anew, err = n.o.Store.LeadNotices(ctx, n.o.Replica, max(leaseLooks*n.o.Look, leaseLeast))
	}
	switch {
	case ctx.Err() != nil:
	case err != nil:
		n.tellAlone(ctx, now)
	case leads:
		n.answered()
		n.tellForAll(ctx, now, anew)
	default:
		n.answered()
		n.follow()
	}
}

// answered notes that Redis does.
func (n *Notifier) answered() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.own.since = time.Time{}
}

// follow forgets what only the replica needs that tells for all.
func (n *Notifier) follow() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lead = leading{}
}

// retire lets another replica tell at once.
func (n *Notifier) retire(ctx context.Context) {
	n.mu.Lock()
	led := n.lead.read
	n.mu.Unlock()
	if led {
		n.o.Store.EndNotices(ctx, n.o.Replica)
	}
}

// tellForAll tells what any replica sees.
func (n *Notifier) tellForAll(ctx context.Context, now time.Time, anew bool) {
	if !n.begin(ctx, anew) || !n.timeToLook(now) {
		return
	}

	all, whole := n.o.All(ctx, n.tenants())
	n.mu.Lock()
	defer n.mu.Unlock()
	calm := whole
	for tenant, problems := range all {
		w := n.lead.watches[tenant]
		if w == nil {
			w = &watch{settle: settleLooks * n.o.Look}
			n.lead.watches[tenant] = w
		}
		w.look(now, problems, whole)
		calm = calm && len(w.seen) == 0
	}
	for _, r := range n.receivers {
		w, told := n.lead.watches[r.Tenant], n.lead.told[r.id]
		if w == nil {
			continue
		}
		n.drop(r, told, now)
		calm = calm && !slices.ContainsFunc(slices.Collect(maps.Values(told)), func(is record) bool { return is.open })
		n.tell(ctx, r, n.dueMessage(now, r, w, told), n.wrote)
	}
	n.lead.next = now.Add(n.o.Look / 2)
	if calm {
		n.lead.next = now.Add(calmLooks*n.o.Look - n.o.Look/2)
	}
}

// begin reads what was told, if this replica did not tell before.
func (n *Notifier) begin(ctx context.Context, anew bool) bool {
	n.mu.Lock()
	ready := n.lead.read && !anew
	n.mu.Unlock()
	if ready {
		return true
	}
	written, err := n.o.Store.Notices(ctx)
	if err != nil {
		return false // it looks again soon
	}

	n.mu.Lock()
	defer n.mu.Unlock()
	n.lead = leading{
		read: true, told: make(map[string]map[string]record), watches: make(map[string]*watch),
		forget: make(map[string]string),
	}
	for name, text := range written {
		id, key, _ := strings.Cut(name, " ")
		if r, ok := readRecord(text); ok {
			put(n.lead.told, id, key, r)
		} else {
			n.lead.forget[name] = ""
		}
	}
	n.dropOthers()
	return true
}

// othersKept is for how long it is known what receivers were told that are in this config no more: another replica may
// still have them in its own, or they may come back.
const othersKept = 7 * 24 * time.Hour

// dropOthers forgets what receivers were told long ago that are not in the config.
func (n *Notifier) dropOthers() {
	known := make(map[string]bool)
	for _, r := range n.receivers {
		known[r.id] = true
	}
	now := n.o.Now()
	for id, told := range n.lead.told {
		for key, is := range told {
			if !known[id] && now.Sub(is.told) > othersKept {
				delete(told, key)
				n.lead.forget[id+" "+key] = ""
			}
		}
	}
}

// drop forgets what holds nothing back any more.
func (n *Notifier) drop(r *receiver, told map[string]record, now time.Time) {
	for key, is := range told {
		if is.stale(now, r.Every) {
			delete(told, key)
			n.lead.forget[r.id+" "+key] = ""
		}
	}
}

// put puts a record into a map of maps.
func put(all map[string]map[string]record, id, key string, r record) {
	if all[id] == nil {
		all[id] = make(map[string]record)
	}
	all[id][key] = r
}

// timeToLook says whether to look at everything now. What this replica sees itself costs nothing: it looks at once if
// that is new.
func (n *Notifier) timeToLook(now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for key := range n.own.watch.seen {
		if w := n.lead.watches[""]; w != nil && w.seen[key] == nil {
			return true
		}
	}
	return !now.Before(n.lead.next)
}

// tenants are those that have receivers, with the operator.
func (n *Notifier) tenants() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := []string{""}
	for _, r := range n.receivers {
		all = append(all, r.Tenant)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// tellAlone tells the operator what this replica sees. What it saw while Redis still answered was told by the replica
// that told for all then.
func (n *Notifier) tellAlone(ctx context.Context, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lead = leading{}
	if n.own.since.IsZero() {
		n.own.since = now
	}
	news := watch{settle: n.own.watch.settle, began: n.own.watch.began, whole: true, seen: make(map[string]*sight)}
	for key, s := range n.own.watch.seen {
		if s.first.After(n.own.since.Add(-2 * n.o.Look)) {
			news.seen[key] = s
		}
	}
	for _, r := range n.receivers {
		if r.Tenant != "" {
			continue
		}
		m := n.dueMessage(now, r, &news, n.own.told[r.id])
		// What was told for all may go on where this replica cannot see it.
		m.over = slices.DeleteFunc(m.over, func(k keyed) bool { return !k.alone })
		m.alone = true
		n.tell(ctx, r, m, func(_ context.Context, r *receiver, told map[string]record) { n.keep(r, told, true) })
	}
}

// dueMessage is a message with what a receiver is to be told; it may have nothing in it.
func (n *Notifier) dueMessage(now time.Time, r *receiver, w *watch, told map[string]record) message {
	m := message{at: now, ended: now.Add(-w.settle),
		receiver: &r.Receiver, replica: n.o.Replica, before: make(map[string]time.Time)}
	m.opened, m.over = due(now, &r.Receiver, w, told)
	for _, p := range m.opened {
		m.before[p.key()] = told[p.key()].over
	}
	return m
}

// tell begins to send a message, if there is anything to say and the receiver takes one now. done is called with what
// was told, by key. n.mu is held.
func (n *Notifier) tell(ctx context.Context, r *receiver, m message,
	done func(ctx context.Context, r *receiver, told map[string]record)) {
	if len(m.opened)+len(m.over) == 0 || r.busy || n.o.Now().Before(r.next) {
		return
	}
	select {
	case n.slots <- struct{}{}:
	default:
		return // too many are under way: at the next look
	}
	r.busy = true
	n.sending.Go(func() {
		defer func() { <-n.slots }()
		err := n.send(ctx, r, m)
		if err == nil {
			done(context.WithoutCancel(ctx), r, m.records())
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		r.busy = false
	})
}

// records are what the receiver was told by a message.
func (m *message) records() map[string]record {
	out := make(map[string]record)
	for _, p := range m.opened {
		out[p.key()] = record{open: true, told: m.at, over: m.before[p.key()], was: lastingOf(&p)}
	}
	for _, o := range m.over {
		is := o.record
		is.open, is.over = false, m.at
		out[o.key] = is
	}
	return out
}

// wrote notes what was told for all.
func (n *Notifier) wrote(ctx context.Context, r *receiver, told map[string]record) {
	n.mu.Lock()
	records := n.lead.forget
	n.lead.forget = make(map[string]string)
	if records == nil {
		records = make(map[string]string)
	}
	for key, is := range told {
		if n.lead.read {
			put(n.lead.told, r.id, key, is)
		}
		records[r.id+" "+key] = is.String()
	}
	n.mu.Unlock()

	leads, err := n.o.Store.TellNotices(ctx, n.o.Replica, records)
	if err != nil {
		n.o.Logger.Warn("cannot write down what people were told: they may be told again", zap.Error(err))
	}
	if err != nil || !leads {
		n.keep(r, told, false) // until it can be handed over
	}
}

// keep notes what this replica has told by itself, or could not write down.
func (n *Notifier) keep(r *receiver, told map[string]record, alone bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.own.told == nil {
		n.own.told = make(map[string]map[string]record)
	}
	for key, is := range told {
		is.alone = alone
		put(n.own.told, r.id, key, is)
	}
}

// handOver hands over what this replica has told by itself, or could not write down, so that one replica tells when it
// is over.
func (n *Notifier) handOver(ctx context.Context) error {
	n.mu.Lock()
	open := make(map[string]string)
	for id, told := range n.own.told {
		for key, is := range told {
			if is.open {
				open[id+" "+key] = is.String()
			}
		}
	}
	n.mu.Unlock()
	if len(open) == 0 {
		return nil
	}
	if err := n.o.Store.AdoptNotices(ctx, open); err != nil {
		return err
	}

	// They still hold back what would be told again too soon.
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.o.Now()
	for id, told := range n.own.told {
		for key, is := range told {
			if _, handed := open[id+" "+key]; handed {
				is.open = false
				told[key] = is
			}
			if now.Sub(is.told) > othersKept {
				delete(told, key)
			}
		}
	}
	return nil
}
