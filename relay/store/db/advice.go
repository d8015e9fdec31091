package db

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// The names of an advice, as metrics have them.
const (
	adviceNoAOF       = "no_aof"
	adviceEvicting    = "evicting"
	adviceOldVersion  = "old_version"
	adviceNoReplicas  = "no_replicas"
	adviceFewReplicas = "few_replicas"
	adviceClockSkew   = "clock_skew"
	AdviceUnreadable  = "unreadable"
)

const (
	oldestMajor, oldestMinor = 6, 2
	// skewMost is how far the clocks may differ without an advice: the store uses the clock of Redis, people and receivers
	// use the local one.
	skewMost = 2 * time.Second
)

// Advice says what puts accepted events at risk in Redis: reasons by the name of the advice. An embedded Redis has
// none.
func (d *DB) Advice(ctx context.Context) (out map[string]string, err error) {
	defer Wrap(&err, "ask redis how it is set up")
	out = make(map[string]string)
	if d.memory != nil {
		return out, nil
	}
	switch t := d.health.trouble(); {
	case t.advice != "": // it may not tell more than that
		out[t.advice] = t.reason()
		return out, nil
	case t.state == Down: // what loads its data says that it keeps none
		return nil, &t
	}
	ctx, cancel := context.WithTimeout(withoutGate(ctx), d.Timeout)
	defer cancel()
	node, err := d.Node(ctx)
	if err != nil {
		return nil, err
	}

	// A Redis that does not answer INFO is not a failure, but an advice of its own: unless it lets nobody in, or loads its
	// data.
	info, err := Info(ctx, node)
	t := d.health.troubleOf(err)
	var refused redis.Error
	switch {
	case t != nil && t.state == Down && t.advice == "":
		return nil, t
	case errors.As(err, &refused):
		out[AdviceUnreadable] = "it does not tell its INFO, " +
			"so nothing is known of its persistence, eviction and replicas"
	case err != nil:
		return nil, err
	default:
		d.adviseInfo(info, out)
	}

	fsync, refusal := node.ConfigGet(ctx, "appendfsync").Result()
	if refusal == nil && fsync["appendfsync"] == "no" && out[adviceNoAOF] == "" {
		out[adviceNoAOF] = "appendfsync no: a crash of its host loses what the kernel has not written yet, " +
			"half a minute or more; use everysec or always"
	}
	if skew := d.clock.skew(); skew.Abs() > skewMost {
		out[adviceClockSkew] = fmt.Sprintf("its clock and this one differ by %s; "+
			"the times of events and deliveries are those of redis", skew.Round(time.Millisecond))
	}
	return out, nil
}

// adviseInfo adds the advice that follows from INFO.
func (d *DB) adviseInfo(info map[string]string, out map[string]string) {
	if info["aof_enabled"] == "0" {
		out[adviceNoAOF] = "appendonly no: a crash of redis loses accepted events; " +
			"use appendonly yes, and appendfsync always to lose none"
	}
	if p := info["maxmemory_policy"]; p != "" && p != "noeviction" {
		out[adviceEvicting] = "maxmemory-policy " + p + ": at maxmemory it would drop accepted events; use noeviction"
	}

	version, rest, _ := strings.Cut(info["redis_version"], ".")
	second, _, _ := strings.Cut(rest, ".")
	major, errMajor := strconv.Atoi(version)
	minor, errMinor := strconv.Atoi(second)
	if errMajor == nil && errMinor == nil && (major < oldestMajor || major == oldestMajor && minor < oldestMinor) {
		out[adviceOldVersion] = fmt.Sprintf("redis %s is older than %d.%d, and lacks commands that are needed",
			info["redis_version"], oldestMajor, oldestMinor)
	}

	replicas, err := strconv.Atoi(info["connected_slaves"])
	switch {
	case err != nil:
	case replicas < d.waitReplicas:
		out[adviceFewReplicas] = fmt.Sprintf("%d replicas follow, and redis.wait_replicas asks for %d: "+
			"callbacks stay in the spool", replicas, d.waitReplicas)
	case replicas == 0 && d.watched():
		out[adviceNoReplicas] = "no replica follows the node that holds the events: " +
			"if it is lost, they are, and nothing takes its place"
	}
}

// watched says whether Redis is set up to survive the loss of a node.
func (d *DB) watched() bool {
	return d.health.server.cluster || d.health.server.sentinel
}

// Info returns the answer of INFO of a node.
func Info(ctx context.Context, node *redis.Client) (map[string]string, error) {
	text, err := node.Info(ctx).Result()
	if err != nil {
		return nil, err
	}
	return readInfo(text), nil
}

// readInfo reads the answer of INFO.
func readInfo(text string) map[string]string {
	out := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			out[name] = value
		}
	}
	return out
}
