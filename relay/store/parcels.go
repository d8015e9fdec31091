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
	repeats := make([]*redis.StringCmd, len(shorts))
	err := s.db.Slices(ctx, len(shorts), db.SliceCommands, func(p redis.Pipeliner, i int) {
		repeats[i] = p.HGet(ctx, s.rareKey(shorts[i]), "r")
	})
	if err != nil {
		return err
	}
	most := int64(0)
	if data {
		most = dataOfWaybill
	}
	found, _, err := s.readSome(ctx, shorts, most)
	if err != nil {
		return err
	}

	for i, v := range found {
		if v == nil {
			continue // Redis has lost it
		}
		end := s.db.Aside(ctx) // to decode a large body takes time
		addUpdate(&parcels[at[i]], v, repeats[i].Val())
		end()
	}
	return nil
}

// addUpdate adds the last update of a parcel, which came again as the field r of f:<id> says.
func addUpdate(parcel *ledger.Parcel, v *stored, repeats string) {
	e, lost := v.event()
	if lost != nil {
		return
	}
	parcel.Last = e

	heard := e.AcceptedAt
	queried := e.Reason() == event.ReasonReconcile
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
