package store

import (
	"context"
	"strconv"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/stats"
	"kuairelay/relay/store/db"
)

const (
	// StatsMost is how many cells AddStats takes at most.
	StatsMost = 32
	// sliceStats is how many pages of statistics a slice reads.
	sliceStats = 10
)

// AddStats adds what this replica has counted, at most StatsMost cells, to what all replicas have. number rises from
// call to call. A call that failed may have been done: it is made again with the same number and the same cells.
func (s *Store) AddStats(ctx context.Context, number int64, cells []stats.Cell) (err error) {
	defer db.Wrap(&err, "write statistics")
	args := make([]any, 0, 4+5*len(cells))
	args = append(args, s.db.ID, number, int64(s.settings().StatsTTL.Seconds()), int64(stats.HoursKept.Seconds()))
	for i := range cells {
		c := &cells[i]
		args = append(args, c.Subject, c.Minute, c.Counts.String(), c.Took.String(), c.Waited.String())
	}
	return s.db.InTurn(ctx, func(ctx context.Context) error {
		_, err := s.db.Do(ctx, statsScript, args)
		return err
	})
}

// Stats reads pages of statistics: the rows of each by their fields, in the order of the pages. A page with nothing in
// it is empty.
func (s *Store) Stats(ctx context.Context, pages []stats.Page) (out []map[string]string, err error) {
	defer db.Wrap(&err, "read statistics")
	answers := make([]*redis.MapStringStringCmd, len(pages))
	err = s.db.Slices(ctx, len(pages), sliceStats, func(p redis.Pipeliner, i int) {
		answers[i] = p.HGetAll(ctx, s.statsKey(pages[i]))
	})
	if err != nil {
		return nil, err
	}

	out = make([]map[string]string, len(pages))
	for i, answer := range answers {
		out[i] = answer.Val()
	}
	return out, nil
}

func (s *Store) statsKey(p stats.Page) string {
	name := p.Subject + ":" + strconv.FormatInt(p.Number, 10)
	switch p.Resolution {
	case stats.Minutes:
		return s.db.Key("m:" + name)
	case stats.FiveMinutes:
		return s.db.Key("m5:" + name)
	}
	return s.db.Key("mh:" + name)
}
