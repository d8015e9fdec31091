package relay_test

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"kuairelay/test/redisserver"
)

// statusEndpoints is how many endpoints a status is measured with.
var statusEndpoints = flag.Int("endpoints", 2000, "of TestAStatusWithThousandsOfEndpointsTakesFewCommands")

// commands counts what a Redis has done so far, in scripts too.
func commands(t *testing.T, redis *redisserver.Server) int {
	t.Helper()
	n, err := redis.Calls()
	must(t, err)
	return n
}

// Thousands of endpoints that have nothing cost a status next to nothing, and many who ask get one answer.
func TestAStatusWithThousandsOfEndpointsTakesFewCommands(t *testing.T) {
	t.Parallel()
	redis := redisserver.Start(t)
	var yaml strings.Builder
	yaml.WriteString(withToken(redis.URL()) + "admin: {token: " + adminToken + "}\n" +
		"tenants:\n  - name: shop\n    api_keys: [" + shopKey + "]\n    endpoints:\n")
	for i := range *statusEndpoints {
		fmt.Fprintf(&yaml, "      - {name: e%d, url: 'http://127.0.0.1:1/', secrets: [%s], retry: [1h]}\n", i, secret)
	}
	yaml.WriteString("    routes: [{to: [e17, e471]}]\n")
	a := startAPI(t, yaml.String())
	a.taken(callback(item("1", "collected", "2026-11-23 09:00:00")))

	type status struct {
		Endpoints int
		Open      int
		States    map[string]int
	}

	// A relay that starts writes down the settings of its endpoints. That is not the status's.
	until(t, "the start is over", a.relay.SettingsTold)
	before, began := commands(t, redis), time.Now()
	first := ok[status](a, adminToken, "GET", "/admin/v1/status", "")
	took, took1 := time.Since(began), commands(t, redis)-before
	if first.Endpoints != *statusEndpoints || first.Open != 2 ||
		first.States["failing"]+first.States["ok"]+first.States["idle"] != *statusEndpoints {
		t.Errorf("%+v", first)
	}
	for range 20 {
		ok[status](a, adminToken, "GET", "/admin/v1/status", "")
		ok[status](a, shopKey, "GET", "/v1/status", "")
	}
	took41 := commands(t, redis) - before
	t.Logf("the first status: %d commands, %s; with 40 more: %d commands", took1, took, took41)
	// What else a relay does in the meantime is counted, too, and a slow machine takes seconds. One command for each
	// endpoint would be twice these limits, at the least.
	limit := *statusEndpoints / 2
	if took1 > limit {
		t.Errorf("one status takes %d commands, over %d", took1, limit)
	}
	if took41 > limit { // each request of a tenant counts for limits.reads
		t.Errorf("41 take %d commands, over %d", took41, limit)
	}
}
