package store

import (
	"container/heap"
	"context"
	"math"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/store/db"
)

const (
	// mergeFirst and mergeMost are how many dead letters of an endpoint are read at a time, at first and later on.
	mergeFirst, mergeMost = 4, 64
	// mergeEndpoints is how many endpoints are read in a slice.
	mergeEndpoints = 100
)

// deadLetterMerge lists the dead letters of many endpoints by their time, the latest first. It reads an endpoint only
// when its latest dead letter is next, and then a few at a time.
type deadLetterMerge struct {
	store     *Store
	after     deadLetter // what comes before it, and itself, is passed over; zero: nothing is
	endpoints []string   // nil: all
	oldest    int64      // ms

	begun   bool
	offset  int64     // in the list of all endpoints
	pending []redis.Z // endpoints that were not looked at yet, by their latest, the latest first
	open    deadLetterHeap
}

// deadLetterList has the dead letters of an endpoint that were read, and where to read on.
type deadLetterList struct {
	endpoint string
	read     []deadLetter
	at       int64 // of the last one that was read (ms), and how many of that time were
	same     int64
	size     int64
	ended    bool
}

// next returns the next dead letter, and false at the end.
func (m *deadLetterMerge) next(ctx context.Context) (deadLetter, bool, error) {
	for {
		if err := m.openLists(ctx); err != nil {
			return deadLetter{}, false, err
		}
		if len(m.open) == 0 {
			return deadLetter{}, false, nil
		}

		// The list with the latest one is at the top of the heap. It then moves to where its next one belongs.
		list := m.open[0]
		l := list.read[0]
		list.read = list.read[1:]
		if len(list.read) == 0 && !list.ended {
			if err := m.readLists(ctx, []*deadLetterList{list}); err != nil {
				return deadLetter{}, false, err
			}
		}
		if len(list.read) == 0 {
			heap.Pop(&m.open)
		} else {
			heap.Fix(&m.open, 0)
		}

		if m.after.at == 0 || m.after.compare(l) < 0 {
			return l, true, nil
		}
	}
}

// openLists opens the lists that may hold what comes next.
func (m *deadLetterMerge) openLists(ctx context.Context) error {
	for {
		if len(m.pending) == 0 {
			if err := m.findEndpoints(ctx); err != nil || len(m.pending) == 0 {
				return err
			}
		}
		if !m.mayBeNext(m.pending[0]) {
			return nil
		}

		// The endpoints that may be next are read together.
		var lists []*deadLetterList
		for len(m.pending) > 0 && len(lists) < mergeEndpoints && m.mayBeNext(m.pending[0]) {
			name, _ := m.pending[0].Member.(string)
			lists = append(lists, &deadLetterList{endpoint: name, at: math.MaxInt64, size: mergeFirst})
			m.pending = m.pending[1:]
		}
		if err := m.readLists(ctx, lists); err != nil {
			return err
		}
		for _, list := range lists {
			if len(list.read) > 0 {
				heap.Push(&m.open, list)
			}
		}
	}
}

// findEndpoints finds further endpoints that have dead letters, the latest first.
func (m *deadLetterMerge) findEndpoints(ctx context.Context) error {
	if m.begun && (m.endpoints != nil || m.offset == 0) {
		return nil // those were all
	}
	m.begun = true
	if m.endpoints != nil {
		return m.findAmong(ctx)
	}

	s := m.store
	err := s.db.InTurn(ctx, func(ctx context.Context) (err error) {
		m.pending, err = s.db.Client.ZRevRangeByScoreWithScores(ctx, s.db.Key("dead"), &redis.ZRangeBy{
			Min: strconv.FormatInt(m.oldest, 10), Max: "+inf", Offset: m.offset, Count: mergeEndpoints,
		}).Result()
		return err
	})
	m.offset += int64(len(m.pending))
	if len(m.pending) < mergeEndpoints {
		m.offset = 0 // that is the end
	}
	return err
}

// mayBeNext says whether the latest dead letter of an endpoint may be the next one of all.
func (m *deadLetterMerge) mayBeNext(z redis.Z) bool {
	return len(m.open) == 0 || int64(z.Score) >= m.open[0].read[0].at
}

// findAmong finds those of the endpoints asked for that have dead letters.
func (m *deadLetterMerge) findAmong(ctx context.Context) error {
	s := m.store
	for part := range slices.Chunk(m.endpoints, db.SliceCommands) {
		err := s.db.InTurn(ctx, func(ctx context.Context) error {
			scores, err := s.db.Client.ZMScore(ctx, s.db.Key("dead"), part...).Result()
			for i, score := range scores {
				if int64(score) >= m.oldest {
					m.pending = append(m.pending, redis.Z{Member: part[i], Score: score})
				}
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	slices.SortStableFunc(m.pending, func(a, b redis.Z) int { return int(b.Score - a.Score) })
	return nil
}

// readLists reads more of some lists, in one slice.
func (m *deadLetterMerge) readLists(ctx context.Context, lists []*deadLetterList) error {
	s := m.store
	found := make([]*redis.ZSliceCmd, len(lists))
	err := s.db.Slices(ctx, len(lists), len(lists), func(p redis.Pipeliner, i int) {
		list := lists[i]
		by := &redis.ZRangeBy{Min: strconv.FormatInt(m.oldest, 10), Max: "+inf", Count: list.size}
		switch {
		case list.at < math.MaxInt64: // it goes on where it was left
			by.Max = strconv.FormatInt(list.at, 10)
			by.Offset = list.same
		case m.after.at > 0: // it begins where the earlier page has ended
			by.Max = strconv.FormatInt(m.after.at, 10)
		}
		found[i] = p.ZRevRangeByScoreWithScores(ctx, s.deadKey(list.endpoint), by)
	})
	if err != nil {
		return err
	}

	for i, list := range lists {
		rows := found[i].Val()
		list.ended = int64(len(rows)) < list.size
		list.size = mergeMost
		for _, z := range rows {
			short, _ := z.Member.(string)
			l := deadLetter{at: int64(z.Score), endpoint: list.endpoint, short: short}
			if l.at != list.at {
				list.at = l.at
				list.same = 0
			}
			list.same++
			list.read = append(list.read, l)
		}
	}
	return nil
}

// deadLetterHeap has the list whose next dead letter is the latest at its top.
type deadLetterHeap []*deadLetterList

func (h deadLetterHeap) Len() int           { return len(h) }
func (h deadLetterHeap) Less(i, j int) bool { return h[i].read[0].compare(h[j].read[0]) < 0 }
func (h deadLetterHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *deadLetterHeap) Push(x any) {
	list, _ := x.(*deadLetterList)
	*h = append(*h, list)
}

// Pop implements heap.Interface.
func (h *deadLetterHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
