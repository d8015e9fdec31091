package store

import (
	"context"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/event"
	"kuairelay/relay/ledger"
	"kuairelay/relay/store/db"
	"kuairelay/relay/store/subscriptions"
)

// Parcels returns how those of the waybills stand that a tenant has subscribed (empty: that are in the ledger), in
// their order. With data, their last updates have theirs, as many as there is room for in an answer.
func (s *Store) Parcels(ctx context.Context, tenant string, waybills []event.Waybill, data bool) (
	out []ledger.Parcel, err error,
) {
	defer db.Wrap(&err, "read how waybills stand")
	entries := make([]*redis.SliceCmd, len(waybills))
	err = s.db.Slices(ctx, len(waybills), db.SliceCommands, func(p redis.Pipeliner, i int) {
		entries[i] = p.HMGet(ctx, s.entryKey(waybills[i]), "u", "z", "q", "e", "@"+tenant)
	})
	if err != nil {
		return nil, err
	}

	now := s.db.Now()
	var shorts []string // of the last updates
	var at []int        // where these are in out
	for i, entry := range entries {
		f := entry.Val()
		if len(f) != 5 || f[0] == nil || tenant != ofAnyone && f[4] == nil {
			continue
		}
		parcel, last := subscriptions.ReadParcel(waybills[i], f, now)
		if last != "" {
			shorts = append(shorts, last)
			at = append(at, len(out))
		}
		out = append(out, parcel)
	}
	return out, s.addUpdates(ctx, out, at, shorts, data)
}

// addUpdates reads the last updates of parcels: shorts[i] is that of parcels[at[i]].
func (s *Store) addUpdates(ctx context.Context, parcels []ledger.Parcel, at []int, shorts []string, data bool) error {
	hashes := make([]*redis.SliceCmd, len(shorts))
	heads := make([]*redis.StringCmd, len(shorts))
	err := s.db.Slices(ctx, len(shorts), db.SliceCommands/2, func(p redis.Pipeliner, i int) {
		hashes[i] = p.HMGet(ctx, s.eventKey(shorts[i]), "q", "t", "r")
		heads[i] = p.GetRange(ctx, s.bodyKey(shorts[i]), 0, headBytes)
	})
	if err != nil {
		return err
	}
	var bodies []string
	if data {
		if bodies, err = s.readBodies(ctx, shorts, dataOfWaybill); err != nil {
			return err
		}
	}

	for i, short := range shorts {
		head, _, _ := strings.Cut(heads[i].Val(), "\n")
		body := head + "\n"
		if i < len(bodies) {
			body = bodies[i]
		}
		end := s.db.Aside(ctx) // to decode a large body takes time
		addUpdate(&parcels[at[i]], short, hashes[i].Val(), body)
		end()
	}
	return nil
}

// addUpdate adds the last update of a parcel, by the fields q, t and r of its hash, unless Redis has lost it.
func addUpdate(parcel *ledger.Parcel, short string, fields []any, body string) {
	e, lost := decodeBody(body)
	id, bad := longID(short)
	if lost != nil || bad != nil || len(fields) != 3 || fields[1] == nil {
		return
	}
	e.ID = id
	e.Sequence = db.Number(fields[0])
	e.AcceptedAt = time.UnixMilli(db.Number(fields[1]))
	parcel.Last = e

	heard := e.AcceptedAt
	queried := e.Reason() == event.ReasonReconcile
	repeats, _ := fields[2].(string)
	if f := strings.Fields(repeats); len(f) > 1 {
		if again := time.UnixMilli(db.Number(f[1])); again.After(heard) {
			heard = again
			queried = false
		}
	}
	if heard.After(parcel.HeardAt) {
		parcel.HeardAt = heard
		parcel.Queried = queried
	}
}
