package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/event"
)

// maxOfWaybill is how many events of a waybill are looked at, the latest.
const maxOfWaybill = 200

// Event gives an event with its data, its deliveries and their attempts; nil if it is not there (any more).
func (s *Store) Event(ctx context.Context, id string) (*event.Stored, error) {
	short, err := shortID(id)
	if err != nil {
		return nil, nil // what is no id names no event
	}
	ctx, cancel := context.WithTimeout(ctx, 2*s.o.Timeout)
	defer cancel()
	found, err := s.look(ctx, []string{short})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0], nil
}

// FillData gives the events of a page their data. One that has expired meanwhile stays without.
func (s *Store) FillData(ctx context.Context, events []*event.Stored) error {
	ctx, cancel := context.WithTimeout(ctx, 2*s.o.Timeout)
	defer cancel()
	keys := make([]string, len(events))
	for i, e := range events {
		short, _ := shortID(e.ID) // it came from the store
		keys[i] = s.key("b:" + short)
	}
	if len(keys) == 0 {
		return nil
	}
	bodies, err := s.client.MGet(ctx, keys...).Result()
	if err != nil {
		return fmt.Errorf("read the data of events: %w", err)
	}
	for i, body := range bodies {
		text, _ := body.(string)
		if e, err := decodeBody(text); err == nil {
			events[i].Data = e.Data
		}
	}
	return nil
}

// Waybill gives the events of a waybill that are in Redis, the oldest first, at most the latest 200; each as Event does.
func (s *Store) Waybill(ctx context.Context, code string) ([]*event.Stored, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*s.o.Timeout)
	defer cancel()
	record, err := s.client.HGetAll(ctx, s.key("w:"+code)).Result()
	if err != nil {
		return nil, fmt.Errorf("look at a waybill: %w", err)
	}
	type seen struct {
		short    string
		sequence int64
	}
	var all []seen
	for name, value := range record {
		switch kind, rest, _ := strings.Cut(name, ":"); kind {
		case "i": // "<sequence>" or "<sequence> <occurrences>"
			seq, n, _ := strings.Cut(value, " ")
			for i := max(1, number(n)); i > max(0, number(n)-10); i-- {
				short := rest
				if i > 1 {
					short += "-" + strconv.FormatInt(i, 10)
				}
				all = append(all, seen{short, number(seq)})
			}
		case "h": // an open head may be older than what the record remembers
			all = append(all, seen{value, 0})
		}
	}
	slices.SortFunc(all, func(a, b seen) int { return int(b.sequence - a.sequence) })
	shorts := make([]string, 0, len(all))
	for _, x := range all {
		if !slices.Contains(shorts, x.short) && len(shorts) < maxOfWaybill {
			shorts = append(shorts, x.short)
		}
	}
	found, err := s.look(ctx, shorts)
	slices.SortFunc(found, func(a, b *event.Stored) int { return int(a.Sequence - b.Sequence) })
	return found, err
}

// look loads events, passing over those that are not there.
func (s *Store) look(ctx context.Context, shorts []string) ([]*event.Stored, error) {
	hashes, bodies := make([]*redis.MapStringStringCmd, len(shorts)), make([]*redis.StringCmd, len(shorts))
	err := s.pipelined(ctx, func(p redis.Pipeliner) {
		for i, short := range shorts {
			hashes[i], bodies[i] = p.HGetAll(ctx, s.eventKey(short)), p.Get(ctx, s.key("b:"+short))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("look at events: %w", err)
	}
	var out []*event.Stored
	var details []func()
	err = s.pipelined(ctx, func(p redis.Pipeliner) {
		for i, short := range shorts {
			fields := hashes[i].Val()
			if len(fields) == 0 {
				continue
			}
			e, bad := readStored(short, fields, bodies[i].Val())
			if bad != nil {
				continue
			}
			out = append(out, e)
			for j := range e.Deliveries {
				details = append(details, s.detail(ctx, p, short, fields["w"], &e.Deliveries[j])...)
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("look at events: %w", err)
	}
	for _, fill := range details {
		fill()
	}
	return out, nil
}

// detail asks for what the hash of an event does not say of a delivery. What it returns fills that in, when the answers are there.
func (s *Store) detail(ctx context.Context, p redis.Pipeliner, short, record string, o *event.Owed) (fill []func()) {
	switch {
	case o.State == event.StateWaiting:
		heads := p.HMGet(ctx, s.prefix+record, "h:"+o.Endpoint, "h")
		fill = append(fill, func() {
			v := heads.Val()
			if len(v) != 2 {
				return
			}
			head, _ := cmp.Or(v[0], v[1]).(string)
			if id, err := longID(head); err == nil {
				o.Behind = id
			}
		})
	case o.State.Open():
		due := p.ZScore(ctx, s.queueKey(o.Endpoint), short)
		fill = append(fill, func() {
			if due.Err() == nil {
				o.Due = time.UnixMilli(int64(due.Val()))
			}
		})
	}
	for i := range o.Tries {
		t := &o.Tries[i]
		if t.Good() {
			continue
		}
		entry := p.XRange(ctx, s.key("a:"+o.Endpoint), t.Text, t.Text)
		t.Text = ""
		fill = append(fill, func() {
			if found := entry.Val(); len(found) == 1 {
				t.Text, _ = found[0].Values["m"].(string)
			}
		})
	}
	return fill
}

// pipelined runs commands in one round trip. What is not there is no error.
func (s *Store) pipelined(ctx context.Context, fill func(redis.Pipeliner)) error {
	_, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		fill(p)
		return nil
	})
	if errors.Is(err, redis.Nil) {
		return nil
	}
	return err
}

// Health says how endpoints do, in the order given. latest is how many of their attempts are wanted.
func (s *Store) Health(ctx context.Context, endpoints []string, latest int) ([]event.Health, error) {
	depths, err := s.Depths(ctx, endpoints)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*s.o.Timeout)
	defer cancel()
	twice := make([]*redis.StringCmd, len(endpoints))
	parked, failed, good := make([]*redis.StringCmd, len(endpoints)), make([]*redis.XMessageSliceCmd, len(endpoints)), make([]*redis.StringSliceCmd, len(endpoints))
	err = s.pipelined(ctx, func(p redis.Pipeliner) {
		for i, ep := range endpoints {
			parked[i] = p.HGet(ctx, s.key("ctl"), ep)
			twice[i] = p.HGet(ctx, s.key("twice"), ep)
			failed[i], good[i] = s.latest(ctx, p, ep, latest)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("look at the health of endpoints: %w", err)
	}
	out := make([]event.Health, len(endpoints))
	for i, d := range depths {
		h := event.Health{Endpoint: d.Endpoint, Open: d.Open, Waiting: d.Waiting, Dead: d.Dead, Oldest: d.Oldest, Delivered: d.Delivered}
		// Its state, since when, and of a breaker until when; one that is let go at a growing pace is parked no more (lua/lib.lua).
		if f := strings.Fields(parked[i].Val()); len(f) >= 2 && f[0] != "ramp" {
			h.Parked, h.ParkedSince = f[0], time.UnixMilli(number(f[1]))
			if len(f) > 2 {
				h.ParkedUntil = time.UnixMilli(number(f[2]))
			}
		}
		if since := twice[i].Val(); since != "" {
			h.AnswersTwice = time.UnixMilli(number(since))
		}
		tries, err := latestFirst(failed[i].Val(), good[i].Val(), latest)
		if err != nil {
			return nil, fmt.Errorf("look at the health of endpoints: %w", err)
		}
		for _, t := range tries {
			h.Latest = append(h.Latest, t.Try)
		}
		out[i] = h
	}
	return out, nil
}
