package store_test

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

func open(t testing.TB, url string) redis.UniversalClient {
	t.Helper()
	if strings.Contains(url, "addr=") {
		o, err := redis.ParseClusterURL(url)
		if err != nil {
			t.Fatal(err)
		}
		return redis.NewClusterClient(o)
	}
	o, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	return redis.NewClient(o)
}
