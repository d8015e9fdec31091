package store

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/event"
	"kuairelay/relay/store/db"
)

const (
	// maxOfWaybill is how many events of a waybill are read, the latest, and dataOfWaybill about how many bytes of data
	// these have.
	maxOfWaybill  = 200
	dataOfWaybill = 4 << 20
	// maxDetails is for how many deliveries and attempts the store asks for more than the events themselves have.
	maxDetails = 2000
)

// ofAnyone stands for the operator, who sees the deliveries of every tenant.
const ofAnyone = ""

// Event returns an event with its data, its deliveries and their attempts, and whether it is (still) there. tenant
// limits the deliveries to those of a tenant; empty: all.
func (s *Store) Event(ctx context.Context, id, tenant string) (*event.Record, bool, error) {
	return s.event(ctx, id, tenant, dataOfWaybill)
}

// EventWithoutData is Event, but for the data.
func (s *Store) EventWithoutData(ctx context.Context, id, tenant string) (*event.Record, bool, error) {
	return s.event(ctx, id, tenant, 0)
}

func (s *Store) event(ctx context.Context, id, tenant string, data int64) (*event.Record, bool, error) {
	short, err := shortID(id)
	if err != nil {
		return nil, false, nil //nolint:nilerr // what is no id names no event
	}

	found, err := s.load(ctx, []string{short}, tenant, data)
	if err != nil || len(found) == 0 {
		return nil, false, err
	}
	return found[0], true, nil
}

// FillData adds the data of the first events of a page: as many as have together at most so many bytes, but at least
// one. It returns how many. An event that has expired meanwhile stays without.
func (s *Store) FillData(ctx context.Context, events []*event.Record, most int64) (int, error) {
	shorts := make([]string, len(events))
	for i, e := range events {
		shorts[i], _ = shortID(e.ID) // it came from the store
	}
	found, err := s.readEvents(ctx, shorts, most)
	if err != nil {
		return 0, fmt.Errorf("read the data of events: %w", err)
	}

	for i, v := range found {
		if v == nil {
			continue
		}
		if e, err := v.event(); err == nil {
			events[i].Data = e.Data
		}
	}
	return len(found), nil
}

// Waybill returns the events of a waybill that are in Redis, the oldest first, at most the latest 200; each as Event
// does. If they have more than dataOfWaybill bytes of data, the older ones come without.
func (s *Store) Waybill(ctx context.Context, code, tenant string) ([]*event.Record, error) {
	return s.waybill(ctx, code, tenant, maxOfWaybill, dataOfWaybill)
}

// LatestOfWaybill is Waybill for the latest most events alone, without their data.
func (s *Store) LatestOfWaybill(ctx context.Context, code, tenant string, most int) ([]*event.Record, error) {
	return s.waybill(ctx, code, tenant, most, 0)
}

// waybill returns at most the latest most events of a waybill, with about so many bytes of data.
func (s *Store) waybill(ctx context.Context, code, tenant string, most int, data int64) ([]*event.Record, error) {
	sequences, err := s.eventsOf(ctx, s.recordKey(code))
	if err != nil {
		return nil, fmt.Errorf("look at a waybill: %w", err)
	}

	shorts := slices.SortedFunc(maps.Keys(sequences), func(a, b string) int {
		return cmp.Or(cmp.Compare(sequences[b], sequences[a]), strings.Compare(a, b))
	})
	found, err := s.load(ctx, shorts[:min(len(shorts), most)], tenant, data)
	slices.SortFunc(found, func(a, b *event.Record) int { return int(a.Sequence - b.Sequence) })
	return found, err
}

// eventsOf reads the events that the record of a waybill knows, with their sequences.
func (s *Store) eventsOf(ctx context.Context, record string) (map[string]int64, error) {
	sequences := make(map[string]int64)
	cursor := uint64(0)
	for {
		var fields []string
		err := s.db.InTurn(ctx, func(ctx context.Context) (err error) {
			fields, cursor, err = s.db.Client.HScan(ctx, record, cursor, "", db.SliceCommands).Result()
			return err
		})
		if err != nil {
			return nil, err
		}

		for pair := range slices.Chunk(fields, 2) {
			switch kind, rest, _ := strings.Cut(pair[0], ":"); kind {
			case "i": // "<sequence>" or "<sequence> <occurrences>", of which the last ten are of interest
				seq, n, _ := strings.Cut(pair[1], " ")
				for i := max(1, db.Number(n)); i > max(0, db.Number(n)-10); i-- {
					short := rest
					if i > 1 {
						short += "-" + strconv.FormatInt(i, 10)
					}
					sequences[short] = db.Number(seq)
				}
			case "h": // an open head may be older than what the record remembers
				sequences[pair[1]] = max(sequences[pair[1]], 0)
			}
		}

		if cursor == 0 {
			return sequences, nil
		}
	}
}

// load reads events with their deliveries, and about so many bytes of their data: all of the first, unless data is 0.
// It skips events that are not there.
func (s *Store) load(ctx context.Context, shorts []string, tenant string, data int64) (
	out []*event.Record, err error,
) {
	defer db.Wrap(&err, "look at events")
	rare := make([]*redis.MapStringStringCmd, len(shorts))
	err = s.db.Slices(ctx, len(shorts), db.SliceCommands, func(p redis.Pipeliner, i int) {
		rare[i] = p.HGetAll(ctx, s.rareKey(shorts[i]))
	})
	if err != nil {
		return nil, err
	}

	// Events without room for their data still have the first line of their bodies.
	found, whole, err := s.readSome(ctx, shorts, data)
	if err != nil {
		return nil, err
	}

	var lookups []lookup
	for i, v := range found {
		if v == nil {
			continue
		}
		end := s.db.Aside(ctx) // to decode a large body takes time
		e := readStored(v, rare[i].Val())
		end()
		e.WithoutData = i >= whole
		out = append(out, e)
		for j := range e.Deliveries {
			o := &e.Deliveries[j]
			if tenant == ofAnyone || strings.HasPrefix(o.Endpoint, tenant+"/") {
				lookups = append(lookups, s.lookupsFor(shorts[i], v.record, o)...)
			}
		}
	}

	lookups = lookups[:min(len(lookups), maxDetails)]
	err = s.db.Slices(ctx, len(lookups), db.SliceCommands, func(p redis.Pipeliner, i int) { lookups[i].ask(ctx, p) })
	if err != nil {
		return nil, err
	}
	for _, l := range lookups {
		l.fill()
	}
	return out, s.nameBehind(ctx, out)
}

// nameBehind completes the ids of the events that deliveries wait for: lookupBehind has left what keys have of them.
func (s *Store) nameBehind(ctx context.Context, events []*event.Record) error {
	var waiting []*event.DeliveryRecord
	for _, e := range events {
		for i := range e.Deliveries {
			if e.Deliveries[i].Behind != "" {
				waiting = append(waiting, &e.Deliveries[i])
			}
		}
	}
	rests := make([]*redis.StringCmd, len(waiting))
	err := s.db.Slices(ctx, len(waiting), db.SliceCommands, func(p redis.Pipeliner, i int) {
		rests[i] = p.GetRange(ctx, s.eventKey(waiting[i].Behind), headHash, headRecord-1)
	})
	for i, o := range waiting {
		o.Behind = joinID(o.Behind, rests[i].Val())
	}
	return err
}

// lookup is a command, and how to use its answer.
type lookup struct {
	ask  func(context.Context, redis.Pipeliner)
	fill func()
}

// lookupsFor returns the questions about a delivery that its event does not answer.
func (s *Store) lookupsFor(short, record string, o *event.DeliveryRecord) []lookup {
	var out []lookup
	switch {
	case o.State == event.StateWaiting:
		out = append(out, s.lookupBehind(record, o))
	case o.State.Open():
		out = append(out, s.lookupDue(short, o))
	}
	for i := range o.Records {
		if !o.Records[i].Good() {
			out = append(out, s.lookupText(o.Endpoint, &o.Records[i]))
		}
	}
	return out
}

// lookupBehind asks which event a delivery waits for.
func (s *Store) lookupBehind(record string, o *event.DeliveryRecord) lookup {
	if o.Reason == event.ReasonReplay { // it has a line of its own, see lua/lib/again.lua
		record = "yh:" + record
	}
	var heads *redis.SliceCmd
	return lookup{
		ask: func(ctx context.Context, p redis.Pipeliner) {
			heads = p.HMGet(ctx, s.db.Prefix+record, "h:"+o.Endpoint, "h")
		},
		fill: func() {
			v := heads.Val()
			if len(v) != 2 {
				return
			}
			o.Behind, _ = cmp.Or(v[0], v[1]).(string) // nameBehind completes it
		},
	}
}

// lookupDue asks when a delivery is due.
func (s *Store) lookupDue(short string, o *event.DeliveryRecord) lookup {
	var due *redis.FloatCmd
	return lookup{
		ask: func(ctx context.Context, p redis.Pipeliner) { due = p.ZScore(ctx, s.queueKey(o.Endpoint), short) },
		fill: func() {
			if due.Err() == nil {
				o.Due = time.UnixMilli(int64(due.Val()))
			}
		},
	}
}

// lookupText asks why an attempt failed. readOwed has left the id of its entry in a: where its text belongs.
func (s *Store) lookupText(endpoint string, r *event.AttemptRecord) lookup {
	id := r.Text
	r.Text = ""
	var entry *redis.XMessageSliceCmd
	return lookup{
		ask: func(ctx context.Context, p redis.Pipeliner) { entry = p.XRange(ctx, s.failedKey(endpoint), id, id) },
		fill: func() {
			if found := entry.Val(); len(found) == 1 {
				*r = readFailed(found[0]).AttemptRecord
			}
		},
	}
}

// Closed says of each event given whether it is done with: no delivery is open, and none is a dead letter.
func (s *Store) Closed(ctx context.Context, ids []string) (closed []bool, err error) {
	defer db.Wrap(&err, "look for closed events")
	ctx, cancel := context.WithTimeout(ctx, 2*s.db.Timeout)
	defer cancel()
	shorts := make([]string, len(ids))
	for i, id := range ids {
		if shorts[i], err = shortID(id); err != nil {
			return nil, err
		}
	}

	found, err := s.readHeads(ctx, shorts)
	if err != nil {
		return nil, err
	}
	closed = make([]bool, len(ids))
	for i, v := range found {
		closed[i] = v == nil || !slices.ContainsFunc(v.deliveries, func(d storedDelivery) bool {
			return strings.IndexByte("qlwx", d.state) >= 0
		})
	}
	return closed, nil
}
