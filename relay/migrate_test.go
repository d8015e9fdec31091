package relay_test

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"kuairelay/relay"
	"kuairelay/relay/store/migrate"
	"kuairelay/test/redisserver"
)

// keptBefore fills a Redis with what the version before has kept (see store/migrate/testdata), by its clock.
func keptBefore(t *testing.T, redis *redisserver.Server) {
	t.Helper()
	file, err := os.Open("store/migrate/testdata/kept.json.gz")
	must(t, err)
	defer func() { _ = file.Close() }()
	text, err := gzip.NewReader(file)
	must(t, err)
	var kept struct {
		Now  int64
		Keys []struct {
			Name string
			Life int64
			Dump []byte
		}
	}
	must(t, json.NewDecoder(text).Decode(&kept))
	for _, k := range kept.Keys {
		ask(t, redis, "RESTORE", "{kuairelay}:"+k.Name, strconv.FormatInt(k.Life, 10), string(k.Dump), "REPLACE")
	}
	ask(t, redis, "HSET", "{kuairelay}:clock", "offset", strconv.FormatInt(kept.Now-time.Now().UnixMilli(), 10),
		"moves", "1", "last", strconv.FormatInt(kept.Now, 10))
}

func TestARelayOnDataOfTheVersionBeforeSpoolsUntilTheyAreMoved(t *testing.T) {
	t.Parallel()
	shop := newStatuses(t)
	redis := redisserver.Start(t)
	keptBefore(t, redis)
	r := start(t, "redis: {url: '"+redis.URL()+"'}"+one(shop.URL, ""))
	r.mustPush(callback(item("line", "sending", "new")))
	const why = "an older version of kuairelay has kept its data here in another form (stop its relays, then run " +
		"kuairelay migrate -c FILE: see docs/operations.md)"
	until(t, "it says why it spools", func() bool {
		status, answer := r.readyz()
		return status == 200 && answer["redis"] == "down: "+why && answer["spooled"] == 1.0 &&
			r.metric(`kuairelay_redis_advice{advice="other_form"}`) == "1"
	})
	if n := r.logs.FilterMessageSnippet("redis has lost its data").Len(); n > 0 || len(shop.of("line")) > 0 {
		t.Error("it takes what is there for nothing")
	}

	c, err := relay.Load(r.file, nil)
	must(t, err)
	result, err := relay.Migrate(t.Context(), c, migrate.Options{})
	must(t, err)
	if result.Events == 0 || len(result.Unreadable) > 0 {
		t.Errorf("%+v", result)
	}

	// Everything comes, and the updates of the waybill in their order: those that were kept, and then the spooled one.
	until(t, "all updates of the waybill came", func() bool {
		return len(shop.of("line")) >= 6 && len(spooled(t, r.spool)) == 0
	})
	if got := shop.of("line"); fmt.Sprint(got) != "[0 1 2 3 4 sending]" {
		t.Errorf("the updates came as %v", got)
	}
	if n := r.logs.FilterMessageSnippet("redis has lost its data").Len(); n > 0 {
		t.Error("it says that the data are lost")
	}
}

// statuses is a receiver that notes the statuses of waybills. It does not look at signatures: the clock of the store is
// days ahead.
type statuses struct {
	*httptest.Server

	mu  sync.Mutex
	got map[string][]string
}

func newStatuses(t *testing.T) *statuses {
	t.Helper()
	x := &statuses{got: make(map[string][]string)}
	x.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		var body struct {
			Data struct {
				Code   string `json:"waybill_code"`
				Status string
			}
		}
		if err := json.NewDecoder(req.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		x.mu.Lock()
		defer x.mu.Unlock()
		x.got[body.Data.Code] = append(x.got[body.Data.Code], body.Data.Status)
	}))
	t.Cleanup(x.Close)
	return x
}

func (x *statuses) of(code string) []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.got[code])
}
