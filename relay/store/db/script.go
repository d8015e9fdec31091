package db

import (
	"context"
	"embed"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed lua
var luaFiles embed.FS

var (
	readyScript    = script("ready")
	commandsScript = script("commands")
	clockScript    = script("clock")
	formScript     = script("form")
	releaseScript  = script("release")
)

func script(name string, parts ...string) *redis.Script { return NewScript(luaFiles, name, parts...) }

// NewScript joins the files of a script: lua/lib/base, what it needs of lua/lib, its own parts (those with a folder in
// their names), and its end, lua/NAME. files are those of the package whose script it is. What several packages need of
// lua/lib is in this package.
func NewScript(files fs.ReadFileFS, name string, parts ...string) *redis.Script {
	text := luaFile(luaFiles, "lib/base")
	for _, part := range parts {
		if !strings.Contains(part, "/") {
			part = "lib/" + part
		}
		text += luaFile(files, part)
	}
	return redis.NewScript(text + luaFile(files, name))
}

// luaFile is a file of a package, or else one of this package.
func luaFile(files fs.ReadFileFS, name string) string {
	path := "lua/" + name + ".lua"
	text, err := files.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = luaFiles.ReadFile(path)
	}
	if err != nil {
		panic(err) // the files are embedded, so a name of a script or of its parts is wrong
	}
	return string(text)
}

// ErrShape is the error of an answer that the script never gives.
var ErrShape = errors.New("redis answered in a shape that is not the script's")

// AnySize is the size of an answer that may have any number of values.
const AnySize = -1

// callBytes are what the id of a call has.
const callBytes = 9

// NewCall returns the id of one call of a script, 12 characters of base64url. It is unique over replicas and restarts,
// so that the call can be asked again, and can serve as the token of the leases that the call brings.
func (d *DB) NewCall() string {
	id := d.firstCall
	n := binary.BigEndian.Uint64(id[1:]) + d.calls.Add(1)
	binary.BigEndian.PutUint64(id[1:], n)
	return base64.RawURLEncoding.EncodeToString(id[:])
}

// Call runs a script whose first argument is the time of the store. It takes at most two round trips. size is how many
// values the answer has.
func (d *DB) Call(ctx context.Context, script *redis.Script, size int, args ...any) ([]any, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*d.Timeout)
	defer cancel()
	if err := d.EnsureClock(ctx); err != nil {
		return nil, err
	}
	answer, err := d.Do(ctx, script, append([]any{d.Now().UnixMilli()}, args...))
	if err == nil && size != AnySize && len(answer) != size {
		err = ErrShape
	}
	return answer, err
}

// Do runs a script, and asks again after each trouble of Redis, until ctx ends. A script that ran although its answer
// was lost gives the same answer to the same call id.
func (d *DB) Do(ctx context.Context, script *redis.Script, args []any) ([]any, error) {
	return d.repeat(ctx, func(ctx context.Context) ([]any, error) {
		return script.Run(ctx, d.Client, []string{d.Prefix}, args...).Slice()
	})
}

// DoDurably is Do, and then waits for as many Redis replicas as are wanted, on the same connection. If there are too
// few, it returns the answer and an error, and Redis is Short from then on.
func (d *DB) DoDurably(ctx context.Context, script *redis.Script, args []any) ([]any, error) {
	if d.waitReplicas == 0 {
		answer, err := d.Do(ctx, script, args)
		d.health.saw(err)
		return answer, err
	}
	answer, err := d.repeat(ctx, func(ctx context.Context) ([]any, error) {
		conn, err := d.conn(ctx)
		if err != nil {
			return nil, err
		}
		defer func() { _ = conn.Close() }()
		answer, err := script.Run(ctx, conn, []string{d.Prefix}, args...).Slice()
		if err != nil {
			return nil, err
		}
		return answer, d.replicated(ctx, conn)
	})
	d.health.saw(err)
	return answer, err
}

// replicasWait is how long Redis replicas have to get what the master has. It is a part of the time that a callback
// waits for Redis.
const replicasWait = 200 * time.Millisecond

// replicated waits until enough Redis replicas have everything that was written so far. WAIT counts from the
// connection's last write, and duplicates write nothing, so it writes something first.
func (d *DB) replicated(ctx context.Context, conn *redis.Conn) error {
	if err := readyScript.Run(ctx, conn, []string{d.Prefix}).Err(); err != nil {
		return err
	}
	have, err := conn.Wait(ctx, d.waitReplicas, replicasWait).Result()
	if err != nil {
		return fmt.Errorf("wait for redis replicas: %w", err)
	}
	if have < int64(d.waitReplicas) {
		why := fmt.Sprintf("only %d of %d replicas have what is written", have, d.waitReplicas)
		return &trouble{state: Short, why: why}
	}
	return nil
}

func (d *DB) repeat(ctx context.Context, ask func(context.Context) ([]any, error)) ([]any, error) {
	for {
		if err := d.health.wait(ctx, false); err != nil {
			return nil, err
		}
		answer, err := d.once(ctx, ask)
		if t := troubleOf(err); t == nil || t.state != Down || ctx.Err() != nil {
			return answer, err
		}
		d.health.saw(err)
	}
}

func (d *DB) once(ctx context.Context, ask func(context.Context) ([]any, error)) ([]any, error) {
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	return ask(ctx)
}

// Wrap names the step that failed. A method that may fail in several places defers it.
func Wrap(err *error, step string) {
	if *err != nil {
		*err = fmt.Errorf("%s: %w", step, *err)
	}
}

// Flag is how a script takes yes and no.
func Flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Number reads a whole number of an answer, which may be a text; anything else is 0.
func Number(v any) int64 {
	switch n := v.(type) {
	case int64:
		return n
	case string:
		i, _ := strconv.ParseInt(n, 10, 64)
		return i
	}
	return 0
}
