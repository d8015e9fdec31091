package store

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/store/db"
)

// Server is what a Redis says of itself. What it does not tell is zero.
type Server struct {
	Version string
	// Memory is what it takes, and MaxMemory what it may take (0: all there is), in bytes. Other programs' keys count,
	// too. Policy is what it drops at MaxMemory.
	Memory, MaxMemory int64
	Policy            string
	// Persistence says in a word how it keeps its data on disk: "none", "rdb", "aof" with its appendfsync.
	Persistence string
	// Replicas follow it.
	Replicas int
	// Latency is how long it took to answer.
	Latency time.Duration
	// Events is about how many events it holds.
	Events int64
}

const (
	// chunkFull is about how many events a full chunk of the list has, see lua/lib/list.lua.
	chunkFull = 1000
	// chunksCounted is how many chunks are counted, the newest ones: older ones are taken for full.
	chunksCounted = 200
)

// Server asks Redis how it does. A Redis that refuses a part of it leaves that out. An embedded one knows only how many
// events it has.
func (s *Store) Server(ctx context.Context) (out Server, err error) {
	defer db.Wrap(&err, "ask redis how it does")
	began := time.Now()
	chunks, err := s.chunks(ctx)
	if err != nil {
		return Server{}, err
	}
	out.Latency = time.Since(began)
	if out.Events, err = s.countEvents(ctx, chunks); err != nil || s.db.Embedded() {
		return out, err
	}

	// Many who rent a Redis may not ask it for these.
	ctx, cancel := context.WithTimeout(ctx, 2*s.db.Timeout)
	defer cancel()
	node, err := s.db.Node(ctx)
	if err != nil {
		return Server{}, err
	}
	if info, refused := db.Info(ctx, node); refused == nil {
		out.readInfo(info)
	}
	files := map[string]string{}
	for _, key := range []string{"appendfsync", "save"} {
		if got, refused := node.ConfigGet(ctx, key).Result(); refused == nil {
			files[key] = got[key]
		}
	}
	switch {
	case out.Persistence == "aof":
		out.Persistence = strings.TrimSpace("aof " + files["appendfsync"])
	case out.Persistence == "none" && files["save"] != "":
		out.Persistence = "rdb"
	}
	return out, nil
}

// chunks asks for the chunks of the list of all events.
func (s *Store) chunks(ctx context.Context) (chunksOf, error) {
	ctx, cancel := context.WithTimeout(ctx, s.db.Timeout)
	defer cancel()
	var all *redis.IntCmd
	var newest *redis.StringSliceCmd
	err := s.db.RoundTrip(ctx, func(p redis.Pipeliner) {
		all = p.ZCard(ctx, s.db.Key("log"))
		newest = p.ZRevRange(ctx, s.db.Key("log"), 0, chunksCounted-1)
	})
	if err != nil {
		return chunksOf{}, err
	}
	return chunksOf{all: all.Val(), newest: newest.Val()}, nil
}

// chunksOf are those of the list of all events: how many there are, and the newest ones.
type chunksOf struct {
	all    int64
	newest []string
}

// countEvents counts what is listed in chunks.
func (s *Store) countEvents(ctx context.Context, chunks chunksOf) (int64, error) {
	lengths := make([]*redis.IntCmd, len(chunks.newest))
	err := s.db.Slices(ctx, len(lengths), db.SliceCommands, func(p redis.Pipeliner, i int) {
		lengths[i] = p.LLen(ctx, s.db.Key("v:"+chunks.newest[i]))
	})
	if err != nil {
		return 0, err
	}
	n := max(0, chunks.all-int64(len(lengths))) * chunkFull
	for _, length := range lengths {
		n += length.Val()
	}
	return n, nil
}

// readInfo takes what INFO says.
func (r *Server) readInfo(info map[string]string) {
	whole := func(name string) int64 {
		n, _ := strconv.ParseInt(info[name], 10, 64) // what is not told is 0
		return n
	}
	r.Version = info["redis_version"]
	r.Memory = whole("used_memory")
	r.MaxMemory = whole("maxmemory")
	r.Policy = info["maxmemory_policy"]
	r.Replicas = int(whole("connected_slaves"))
	switch info["aof_enabled"] {
	case "1":
		r.Persistence = "aof"
	case "0":
		r.Persistence = "none"
	}
}
