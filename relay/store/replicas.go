package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/store/db"
)

const (
	// replicaLife is how long a replica counts as alive after it last said so.
	replicaLife = time.Minute
	// replicasMost is how many replicas are listed, those that were heard of last. The others are counted as gone after
	// replicaLife: many ids come only from a process that starts again and again.
	replicasMost = 100
)

// Replica is what a replica said of itself.
type Replica struct {
	ID     string
	SeenAt time.Time
	// Fields are what Beat was called with.
	Fields map[string]string
}

// Beat says that a replica lives, and how it does, for replicaLife. Without fields, the replica is forgotten.
func (s *Store) Beat(ctx context.Context, id string, fields map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, s.db.Timeout)
	defer cancel()
	if err := s.db.EnsureClock(ctx); err != nil {
		return err
	}

	args := []any{s.db.Now().UnixMilli(), replicaLife.Milliseconds(), id}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		args = append(args, name, fields[name])
	}
	if err := beatScript.Run(ctx, s.db.Client, []string{s.db.Prefix}, args...).Err(); err != nil {
		return fmt.Errorf("tell of a replica: %w", err)
	}
	return nil
}

// Replicas lists the replicas that are alive, by their ids.
func (s *Store) Replicas(ctx context.Context) (all []Replica, err error) {
	defer db.Wrap(&err, "list replicas")
	ctx, cancel := context.WithTimeout(ctx, 2*s.db.Timeout)
	defer cancel()
	since := s.db.Now().Add(-replicaLife).UnixMilli()
	seen, err := s.db.Client.ZRevRangeByScoreWithScores(ctx, s.db.Key("reps"), &redis.ZRangeBy{
		Min: "(" + strconv.FormatInt(since, 10), Max: "+inf", Count: replicasMost,
	}).Result()
	if err != nil || len(seen) == 0 {
		return nil, err
	}

	fields := make([]*redis.MapStringStringCmd, len(seen))
	err = s.db.RoundTrip(ctx, func(p redis.Pipeliner) {
		for i, r := range seen {
			id, _ := r.Member.(string)
			all = append(all, Replica{ID: id, SeenAt: time.UnixMilli(int64(r.Score))})
			fields[i] = p.HGetAll(ctx, s.replicaKey(id))
		}
	})
	if err != nil {
		return nil, err
	}
	for i := range all {
		all[i].Fields = fields[i].Val()
	}
	slices.SortFunc(all, func(a, b Replica) int { return strings.Compare(a.ID, b.ID) })
	return all, nil
}
