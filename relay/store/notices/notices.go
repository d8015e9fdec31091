// Package notices keeps in Redis what people were told of problems, and which replica tells them: so that several
// replicas send one message, and one of them tells that a problem is over that another one has told of.
package notices

import (
	"context"
	"embed"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/store/db"
)

//go:embed lua
var luaFiles embed.FS

// The scripts are the state changes; see those of package store.
var (
	leadNoticesScript  = script("leadnotices")
	tellNoticesScript  = script("tellnotices")
	adoptNoticesScript = script("adoptnotices")
)

func script(name string, parts ...string) *redis.Script {
	return db.NewScript(luaFiles, name, parts...)
}

const (
	// most bounds the notices of all receivers together. Of what is above, nothing is remembered when another replica
	// begins to tell.
	most = 20_000
	// life is how long all are kept after the latest change: a receiver that is in no config any more leaves nothing for
	// ever. What is open for longer, while nothing else happens, is told again.
	life = 30 * 24 * time.Hour
	// atOnce is how many are written in one call.
	atOnce = 200
)

// Board is one replica's access to the notices. All methods may be called at the same time.
type Board struct{ db *db.DB }

// New makes a Board in a Redis. It starts nothing.
func New(d *db.DB) *Board { return &Board{d} }

func (b *Board) run(ctx context.Context, script *redis.Script, args ...any) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, b.db.Timeout)
	defer cancel()
	return script.Run(ctx, b.db.Client, []string{b.db.Prefix}, args...).Int64()
}

// LeadNotices asks whether a replica is the one that tells of problems, for the span; see lua/leadnotices.lua. anew
// says that it was not the one before, or that another replica has changed the notices: it reads them again.
func (b *Board) LeadNotices(ctx context.Context, replica string, span time.Duration) (leads, anew bool, err error) {
	defer db.Wrap(&err, "ask who tells of problems")
	answer, err := b.run(ctx, leadNoticesScript, replica, span.Milliseconds())
	return answer > 0, answer == 2, err
}

// Notices reads all of them, as they were written.
func (b *Board) Notices(ctx context.Context) (all map[string]string, err error) {
	defer db.Wrap(&err, "read what people were told")
	all = make(map[string]string)
	var cursor uint64
	for {
		var page []string
		err := b.db.InTurn(ctx, func(ctx context.Context) (err error) {
			page, cursor, err = b.db.Client.HScan(ctx, b.db.Key("notices"), cursor, "", atOnce).Result()
			return err
		})
		if err != nil {
			return nil, err
		}
		for i := 0; i+1 < len(page); i += 2 {
			all[page[i]] = page[i+1]
		}
		if cursor == 0 {
			return all, nil
		}
	}
}

// TellNotices writes down what was told, by notice; an empty record is forgotten. It returns false if the replica is
// not the one that tells any more.
func (b *Board) TellNotices(ctx context.Context, replica string, records map[string]string) (still bool, err error) {
	defer db.Wrap(&err, "write down what people were told")
	still = true
	err = inParts(records, func(part [][2]string) error {
		args := []any{replica, most, life.Milliseconds()}
		for _, r := range part {
			args = append(args, r[0], r[1])
		}
		n, err := b.run(ctx, tellNoticesScript, args...)
		still = still && n == 1
		return err
	})
	return still, err
}

// AdoptNotices adds what a replica has told by itself; see lua/adoptnotices.lua. A record begins with whether the
// notice is open (0 or 1), when it was told, and when it was told to be over (0: never), in ms, with spaces between
// them.
func (b *Board) AdoptNotices(ctx context.Context, records map[string]string) (err error) {
	defer db.Wrap(&err, "hand over what people were told")
	return inParts(records, func(part [][2]string) error {
		args := []any{most, life.Milliseconds()}
		for _, r := range part {
			args = append(args, r[0], r[1], strings.Fields(r[1] + " 0 0")[1])
		}
		_, err := b.run(ctx, adoptNoticesScript, args...)
		return err
	})
}

// EndNotices lets another replica tell of problems at once, if this one does.
func (b *Board) EndNotices(ctx context.Context, replica string) {
	b.db.Release(ctx, "only", "notices", replica)
}

// inParts calls do with at most atOnce records at a time.
func inParts(records map[string]string, do func(part [][2]string) error) error {
	var part [][2]string
	for notice, record := range records {
		part = append(part, [2]string{notice, record})
		if len(part) == atOnce {
			if err := do(part); err != nil {
				return err
			}
			part = nil
		}
	}
	if len(part) == 0 {
		return nil
	}
	return do(part)
}
