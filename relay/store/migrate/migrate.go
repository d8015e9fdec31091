// Package migrate moves what the version before has kept in Redis to the form of this version (db.Form): in small
// scripts, each of which writes a part in the new form and deletes it in the old one. So nothing is ever missing in
// both, it can end at any point and begin again, and what a relay of the version before writes later is added by
// running it again.
//
// It moves the events first, by the list of all, then those that are not in it, and then all that names them.
package migrate

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/store/db"
)

//go:embed lua
var luaFiles embed.FS

// The scripts are the steps of a migration.
var (
	beginScript = script("begin")
	chunkScript = script("chunk", "event", "old")
	keysScript  = script("keys", "event", "list", "rows", "old", "keys/named", "keys/other")
)

func script(name string, parts ...string) *redis.Script {
	return db.NewScript(luaFiles, name, parts...)
}

// alive is for how long a relay counts as alive after it last said so.
const alive = 30 * time.Second

// Options of a migration.
type Options struct {
	// Force begins although relays of the version before are alive.
	Force bool
	// Most is how many events, or keys, one script moves at most; it ends earlier when it has moved many bytes. Zero means
	// 50.
	Most int
	// OnProgress is called after each step. Nil: nothing is called.
	OnProgress func(Result)
	// OnTrouble is called with what Redis is waited for. Nil: nothing is called.
	OnTrouble func(error)
}

// Result is what was moved.
type Result struct {
	// Events, Records of waybills, Entries of the ledger of subscriptions, and Others: keys of any other kind.
	Events, Records, Entries, Others int64
	// Unreadable are keys of the form before that stay as they are, because what is in them cannot be read.
	Unreadable []Unreadable
	// Nothing says that there was nothing to move.
	Nothing bool
}

// Unreadable is a key that stays as it is.
type Unreadable struct{ Key, Why string }

// AliveError is the error of a migration that has not begun, because relays of the version before are alive.
type AliveError struct{ Relays []string }

// Error names them.
func (e *AliveError) Error() string {
	return "relays of the version before are running: " + strings.Join(e.Relays, ", ")
}

// ErrEmbedded is the error for a store that is not kept.
var ErrEmbedded = errors.New("there is no redis.url: an embedded Redis keeps nothing over a restart, so there is " +
	"nothing to migrate")

// migration is one run.
type migration struct {
	db     *db.DB
	o      Options
	result Result
	known  map[string]bool // of the unreadable keys
	base   string          // what the keys of the version before begin with
}

// Run moves everything, and notes then that the data are in this form. It goes on after each trouble of Redis, unless
// that is there from the start. d has to be one with AnyForm.
func Run(ctx context.Context, d *db.DB, o Options) (Result, error) {
	if d.Embedded() {
		return Result{}, ErrEmbedded
	}
	o.Most = cmp.Or(o.Most, 50)
	m := &migration{db: d, o: o, known: make(map[string]bool), base: strings.TrimSuffix(d.FormKey(), "form")}
	err := m.run(ctx)
	return m.result, err
}

func (m *migration) run(ctx context.Context) (err error) {
	defer db.Wrap(&err, "move the data to form "+db.Form)
	form, err := m.begin(ctx)
	if err != nil {
		return err
	}

	// What a look has not found is found by the next one, if a relay of the version before has written it meanwhile.
	const looksMost = 5
	for looks := 0; ; looks++ {
		found, err := m.look(ctx)
		if err != nil {
			return err
		}
		if found == 0 {
			m.result.Nothing = looks == 0 && form != db.Migrating && len(m.result.Unreadable) == 0
			break
		}
		if looks == looksMost && !m.o.Force {
			return errors.New("keys of the version before come again: one of its relays is running")
		}
		if looks == looksMost {
			break // the rest is for a later run
		}
	}
	return m.again(ctx, func(ctx context.Context) error {
		return m.db.Client.Set(ctx, m.db.FormKey(), db.Form, 0).Err()
	})
}

// begin returns the form that the data had. A Redis that cannot be reached, or refuses the first script, is an error.
func (m *migration) begin(ctx context.Context) (form string, err error) {
	ctx, cancel := context.WithTimeout(ctx, m.db.Timeout)
	defer cancel()
	answer, err := beginScript.Run(ctx, m.db.Client, []string{m.db.Prefix}, db.Form, db.Migrating, alive.Milliseconds(),
		db.Flag(m.o.Force)).StringSlice()
	if err != nil {
		return "", err
	}
	if len(answer) == 0 {
		return "", db.ErrShape
	}

	form = answer[0]
	switch {
	case form != "" && form != db.Form && form != db.Migrating:
		return "", fmt.Errorf("another version of kuairelay has kept its data here in form %q, which this one does not know",
			form)
	case len(answer) > 1 && !m.o.Force:
		return "", &AliveError{Relays: answer[1:]}
	}
	return form, nil
}

// look looks at all keys once, and moves what it finds. It returns how many keys that were.
func (m *migration) look(ctx context.Context) (found int, err error) {
	chunks, err := m.chunks(ctx)
	if err != nil {
		return 0, err
	}
	for _, chunk := range chunks {
		if err := m.moveChunk(ctx, chunk); err != nil {
			return found, err
		}
	}

	events, err := m.scan(ctx, "[eb]:*", m.moveKeys)
	if err != nil {
		return found, err
	}
	others, err := m.scan(ctx, "*", m.moveKeys)
	return len(chunks) + events + others, err
}

// chunks are those of the list of events, and those that are not in it any more, the oldest first.
func (m *migration) chunks(ctx context.Context) (all []string, err error) {
	err = m.again(ctx, func(ctx context.Context) (err error) {
		all, err = m.db.Client.ZRange(ctx, m.base+"log", 0, -1).Result()
		return err
	})
	if err != nil {
		return nil, err
	}
	_, err = m.scan(ctx, "v:*", func(_ context.Context, names []string) error {
		for _, name := range names {
			all = append(all, strings.TrimPrefix(name, "v:"))
		}
		return nil
	})
	slices.SortFunc(all, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b)) // they are numbers
	})
	return slices.Compact(all), err
}

func (m *migration) moveChunk(ctx context.Context, chunk string) error {
	for {
		answer, err := m.call(ctx, chunkScript, db.AnySize, chunk, m.o.Most)
		if err == nil && len(answer) < 2 {
			err = db.ErrShape
		}
		if err != nil {
			return err
		}
		m.result.Events += db.Number(answer[1])
		m.moved(answer[2:])
		if more := db.Number(answer[0]) == 1; !more {
			return nil
		}
	}
}

// moveKeys moves what is in keys by their names. A script that has moved many bytes leaves some for the next one.
func (m *migration) moveKeys(ctx context.Context, names []string) error {
	for len(names) > 0 {
		some := names[:min(m.o.Most, len(names))]
		args := make([]any, len(some))
		for i, name := range some {
			args[i] = name
		}
		answer, err := m.call(ctx, keysScript, 3, args...)
		if err != nil {
			return err
		}

		counts, _ := answer[0].([]any)
		left, _ := answer[1].([]any)
		problems, _ := answer[2].([]any)
		if len(counts) != 4 {
			return db.ErrShape
		}
		m.result.Events += db.Number(counts[0])
		m.result.Records += db.Number(counts[1])
		m.result.Entries += db.Number(counts[2])
		m.result.Others += db.Number(counts[3])
		m.moved(problems)

		names = names[len(some):]
		for _, name := range left {
			text, _ := name.(string)
			names = append(names, text)
		}
	}
	return nil
}

// moved tells of a step, and notes what it could not read: name, why, name, why, …
func (m *migration) moved(problems []any) {
	for pair := range slices.Chunk(problems, 2) {
		name, _ := pair[0].(string)
		why, _ := pair[len(pair)-1].(string)
		if !m.known[name] {
			m.known[name] = true
			m.result.Unreadable = append(m.result.Unreadable, Unreadable{Key: m.base + name, Why: why})
		}
	}
	if m.o.OnProgress != nil {
		m.o.OnProgress(m.result)
	}
}

// scan calls do with the names of all keys of the form before that match a pattern, some at a time, and returns how
// many these were. A key that cannot be read is left out.
func (m *migration) scan(ctx context.Context, pattern string, do func(context.Context, []string) error) (int, error) {
	const atOnce = 1000
	escaped := strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(m.base)
	cursor, found := uint64(0), 0
	for {
		var keys []string
		var next uint64
		err := m.again(ctx, func(ctx context.Context) error {
			node, err := m.db.Node(ctx)
			if err != nil {
				return err
			}
			keys, next, err = node.Scan(ctx, cursor, escaped+pattern, atOnce).Result()
			return err
		})
		if err != nil {
			return found, err
		}

		var names []string
		for _, key := range keys {
			if name := strings.TrimPrefix(key, m.base); m.old(name) {
				names = append(names, name)
			}
		}
		found += len(names)
		if err := do(ctx, names); err != nil {
			return found, err
		}
		if next == 0 {
			return found, nil
		}
		cursor = next
	}
}

// old says whether a key is one of the form before that is to be moved.
func (m *migration) old(name string) bool {
	id, body := strings.CutPrefix(name, "b:")
	return name != "form" && !m.known[name] && !(body && m.known["e:"+id])
}

// call runs a script whose first argument is the time of the store, until Redis has answered it.
func (m *migration) call(ctx context.Context, script *redis.Script, size int, args ...any) (answer []any, err error) {
	err = m.again(ctx, func(ctx context.Context) error {
		if err := m.db.EnsureClock(ctx); err != nil {
			return err
		}
		all := append([]any{m.db.Now().UnixMilli()}, args...)
		answer, err = script.Run(ctx, m.db.Client, []string{m.db.Prefix}, all...).Slice()
		if err == nil && size != db.AnySize && len(answer) != size {
			err = db.ErrShape
		}
		return err
	})
	return answer, err
}

// again makes a call, and after each trouble of Redis once more.
func (m *migration) again(ctx context.Context, do func(context.Context) error) error {
	const pause = 200 * time.Millisecond
	for {
		limited, cancel := context.WithTimeout(ctx, 2*m.db.Timeout)
		err := do(limited)
		cancel()
		if err == nil || ctx.Err() != nil || !m.db.Noticed(err) {
			return err
		}
		if m.o.OnTrouble != nil {
			m.o.OnTrouble(err)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}
