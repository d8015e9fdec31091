package store_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"kuairelay/relay/store/db"
	"kuairelay/relay/store/storetest"
	"kuairelay/test/redisserver"
)

func TestStoreOnMiniredis(t *testing.T) {
	t.Parallel()
	m := miniredis.NewMiniRedis()
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	go func() {
		// Keys expire only when miniredis is told that time passes. It looks at all keys then, and does nothing else. A
		// longer pause would be too much for a key that is made at its end: that loses the whole of it.
		for last := time.Now(); t.Context().Err() == nil; time.Sleep(50 * time.Millisecond) {
			now := time.Now()
			m.FastForward(now.Sub(last))
			last = now
		}
	}()
	slow := backend(t, "redis://"+m.Addr()+"?read_timeout=2m&write_timeout=2m") // one script waits for another
	slow.Slow = true
	slow.Forget = func(prefix string) { // each passing of time sorts all keys that there are
		for _, key := range m.Keys() {
			if strings.HasPrefix(key, prefix) {
				m.Del(key)
			}
		}
	}
	storetest.Run(t, slow)
}

// The store may do no more than the user whom operators make for it.
func TestStoreOnRedis(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t, theUser()...)
	restricted := backend(t, server.URL())
	restricted.URL = strings.Replace(server.URL(), "redis://", "redis://kuairelay:secret@", 1)
	storetest.Run(t, restricted)
}

func TestStoreOnRedisCluster(t *testing.T) {
	t.Parallel()
	cluster := redisserver.StartCluster(t, 3, theUser()...)
	restricted := backend(t, cluster.URL())
	restricted.URL = strings.Replace(cluster.URL(), "redis://", "redis://kuairelay:secret@", 1)
	storetest.Run(t, restricted)
}

// theUser is the relay's, as options of redis-server. It may use all keys, because the checks have hash tags of their
// own.
func theUser() []string {
	rules := strings.Replace(db.ACL(), "~{kuairelay}*", "~*", 1)
	return append([]string{"--user", "kuairelay", "on", ">secret"}, strings.Fields(rules)...)
}

func TestTheFileOfOperatorsMakesTheUserThatTheRelayNeeds(t *testing.T) {
	t.Parallel()
	acl, err := os.ReadFile("../../deploy/redis/kuairelay.acl")
	if err != nil {
		t.Fatal(err)
	}
	if want := "user kuairelay on >PASSWORD " + db.ACL(); !slices.Contains(strings.Split(string(acl), "\n"), want) {
		t.Errorf("deploy/redis/kuairelay.acl has not the line\n%s", want)
	}
}

// backend looks at keys with a client of its own, on every node.
func backend(t *testing.T, url string) storetest.Backend {
	t.Helper()
	return storetest.Backend{URL: url, Keys: func(t testing.TB, prefix string) []string {
		t.Helper()
		client := open(t, url)
		defer func() { _ = client.Close() }()
		var all []string
		scan := func(c *redis.Client) error {
			it := c.Scan(t.Context(), 0, prefix+"*", 1000).Iterator()
			for it.Next(t.Context()) {
				all = append(all, it.Val())
			}
			return it.Err()
		}
		var err error
		switch c := client.(type) {
		case *redis.Client:
			err = scan(c)
		case *redis.ClusterClient:
			// One slot holds all keys of a store, and so one node.
			node, e := c.MasterForKey(t.Context(), prefix)
			if err = e; err == nil {
				err = scan(node)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		return all
	}, Life: func(t testing.TB, key string) time.Duration {
		t.Helper()
		client := open(t, url)
		defer func() { _ = client.Close() }()
		left, err := client.PTTL(t.Context(), key).Result()
		if err != nil {
			t.Fatal(err)
		}
		return left
	}, Delete: func(t testing.TB, key string) {
		t.Helper()
		client := open(t, url)
		defer func() { _ = client.Close() }()
		if err := client.Del(t.Context(), key).Err(); err != nil {
			t.Fatal(err)
		}
	}}
}
