package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// embedded is a Redis in this process, reached through pipes: it listens nowhere.
type embedded = miniredis.Miniredis

// connect makes the client that the URL asks for. It opens no connection.
func connect(rawURL string) (redis.UniversalClient, *embedded, error) {
	if rawURL == "" {
		memory := miniredis.NewMiniRedis()
		return redis.NewClient(tuned(&redis.Options{
			Dialer: func(context.Context, string, string) (net.Conn, error) { return memory.Dial() },
		})), memory, nil
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, nil, errors.New("redis url: it is not a URL")
	}
	switch q := u.Query(); {
	case q.Has("master_name"):
		o, err := redis.ParseFailoverURL(rawURL)
		if err != nil {
			return nil, nil, fmt.Errorf("redis url (sentinel): %w", scrub(err))
		}
		o.MaxRetries, o.ContextTimeoutEnabled, o.DisableIdentity = -1, true, true
		return redis.NewFailoverClient(o), nil, nil
	case q.Has("addr"):
		o, err := redis.ParseClusterURL(rawURL)
		if err != nil {
			return nil, nil, fmt.Errorf("redis url (cluster): %w", scrub(err))
		}
		o.MaxRetries, o.ContextTimeoutEnabled, o.DisableIdentity = -1, true, true
		o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
		return redis.NewClusterClient(o), nil, nil
	}
	o, err := redis.ParseURL(rawURL)
	if err != nil {
		return nil, nil, fmt.Errorf("redis url: %w", scrub(err))
	}
	return redis.NewClient(tuned(o)), nil, nil
}

// tuned leaves deadlines and repeats to the store, and asks the server for nothing that an older one does not know.
func tuned(o *redis.Options) *redis.Options {
	o.MaxRetries, o.ContextTimeoutEnabled, o.DisableIdentity = -1, true, true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return o
}

// scrub keeps a URL, and so a password, out of an error.
func scrub(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// conn is one connection of its own to the node that holds the store, for commands that depend on each other.
func (s *Store) conn(ctx context.Context) (*redis.Conn, error) {
	switch c := s.client.(type) {
	case *redis.Client:
		return c.Conn(), nil
	case *redis.ClusterClient:
		node, err := c.MasterForKey(ctx, s.prefix)
		if err != nil {
			return nil, fmt.Errorf("find the redis node: %w", err)
		}
		return node.Conn(), nil
	}
	return nil, fmt.Errorf("redis client %T has no connections of its own", s.client)
}

// go-redis prints every failed dial to stderr by itself. The errors that it returns say the same, so nothing is lost.
func init() { redis.SetLogger(silent{}) }

type silent struct{}

// Printf drops the line.
func (silent) Printf(context.Context, string, ...any) {}
