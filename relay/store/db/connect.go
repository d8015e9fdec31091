package db

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// embedded is a Redis in this process, reached through pipes. It has no port.
type embedded = miniredis.Miniredis

// connect makes the client that the URL asks for. It opens no connection.
func connect(rawURL string) (redis.UniversalClient, *embedded, error) {
	if rawURL == "" {
		memory := miniredis.NewMiniRedis()
		return redis.NewClient(tuned(&redis.Options{
			Dialer: func(context.Context, string, string) (net.Conn, error) {
				conn, err := memory.Dial()
				return &pipe{Conn: conn}, err
			},
			ReadTimeout: -1, WriteTimeout: -1, // it is never out of reach: only the deadlines of the calls count
		})), memory, nil
	}

	parsed, err := parseURL(rawURL)
	if err != nil {
		return nil, nil, fmt.Errorf("redis url: it %w", err)
	}
	switch o := parsed.(type) {
	case *redis.FailoverOptions:
		o.MaxRetries, o.ContextTimeoutEnabled, o.DisableIdentity = -1, true, true
		impatient(&o.DialTimeout, &o.ReadTimeout, &o.WriteTimeout, &o.DialerRetries)
		return redis.NewFailoverClient(o), nil, nil
	case *redis.ClusterOptions:
		o.MaxRetries, o.ContextTimeoutEnabled, o.DisableIdentity = -1, true, true
		// No redirect is followed. While a slot is moved, ASK leads to a node that has only a part of the keys, and a script
		// there would take the others for missing. The error is trouble, which ends when the slot has moved.
		o.MaxRedirects = -1
		impatient(&o.DialTimeout, &o.ReadTimeout, &o.WriteTimeout, &o.DialerRetries)
		o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
		return redis.NewClusterClient(o), nil, nil
	case *redis.Options:
		return redis.NewClient(tuned(o)), nil, nil
	}
	return nil, nil, fmt.Errorf("redis url: %T is no kind of options", parsed)
}

// tuned leaves deadlines and retries to the store, and uses no command that an older server does not know.
func tuned(o *redis.Options) *redis.Options {
	o.MaxRetries, o.ContextTimeoutEnabled, o.DisableIdentity = -1, true, true
	impatient(&o.DialTimeout, &o.ReadTimeout, &o.WriteTimeout, &o.DialerRetries)
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return o
}

// impatient sets short time-outs, unless the URL has some. go-redis would wait for seconds (for the nodes of a Cluster,
// for example), and dial five times before it reports that nobody answers.
func impatient(dial, read, write *time.Duration, dials *int) {
	*dial = cmp.Or(*dial, time.Second)
	*read = cmp.Or(*read, 2*time.Second)
	*write = cmp.Or(*write, 2*time.Second)
	*dials = cmp.Or(*dials, 1)
}

// Node returns the client of the node that holds the store.
func (d *DB) Node(ctx context.Context) (*redis.Client, error) {
	switch c := d.Client.(type) {
	case *redis.Client:
		return c, nil
	case *redis.ClusterClient:
		node, err := c.MasterForKey(ctx, d.Prefix)
		if err != nil {
			return nil, fmt.Errorf("find the redis node: %w", err)
		}
		return node, nil
	}
	return nil, fmt.Errorf("redis client %T has no nodes", d.Client)
}

// conn returns a connection of its own to that node, for commands that depend on each other.
func (d *DB) conn(ctx context.Context) (*redis.Conn, error) {
	node, err := d.Node(ctx)
	if err != nil {
		return nil, err
	}
	return node.Conn(), nil
}

// go-redis prints every failed dial to stderr. The errors that it returns say the same, so nothing is lost.
func init() { redis.SetLogger(silent{}) }

type silent struct{}

// Printf drops the line.
func (silent) Printf(context.Context, string, ...any) {}
