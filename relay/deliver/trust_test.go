package deliver

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"kuairelay/relay/signature"
)

func TestThatAnEndpointAnswersTwiceIsKnownToEveryReplicaUntilItIsResumed(t *testing.T) {
	t.Parallel()
	f := beTwoFaced(t, false, func(c *talk, _ int) { say(c, refusal503+strayAnswer) })
	key, err := signature.ParseKey(signature.NewSecret())
	if err != nil {
		t.Fatal(err)
	}
	m := &memory{}
	open := func() (*Pool, *observer.ObservedLogs) {
		core, logs := observer.New(zap.WarnLevel)
		p, err := New(Options{Store: m, Logger: zap.New(core), Registry: prometheus.NewRegistry(), Settings: Settings{
			Egress:    loopback,
			Endpoints: []*Endpoint{{Name: "t/a", URL: f.url, Keys: []Key{{Key: key}}, Timeout: 10 * time.Second}}}})
		if err != nil {
			t.Fatal(err)
		}
		runs(t, p)
		return p, logs
	}
	known := func(p *Pool) bool { return p.endpoint("t/a").trust.lost() }

	first, logs := open()
	for range 3 {
		if _, err := first.SendTest(t.Context(), "t/a", newDelivery(time.Minute).Event); err != nil {
			t.Fatal(err)
		}
	}
	if n := logs.FilterMessageSnippet("answers twice").Len(); n != 1 {
		t.Errorf("logged %d times", n)
	}
	wait(t, "the store knows it", func() bool {
		twice, err := m.Distrusted(t.Context())
		return err == nil && len(twice) == 1
	})
	shown := func(p *Pool) int {
		series := make(chan prometheus.Metric, 10)
		p.metrics.twice.Collect(series)
		return len(series)
	}
	if shown(first) != 1 {
		t.Error("there is no metric")
	}
	second, _ := open()
	wait(t, "another replica knows it", func() bool { return known(second) })

	m.mu.Lock()
	delete(m.twice, "t/a")
	m.mu.Unlock()
	for _, p := range []*Pool{first, second} {
		p.lookAtTrust()
		wait(t, "it is trusted again", func() bool { return !known(p) })
		wait(t, "the metric is gone", func() bool { return shown(p) == 0 })
	}
}

func TestAStoreThatDoesNotKnowYetGivesNoTrustBack(t *testing.T) {
	t.Parallel()
	told := 0
	tr := trust{tell: func(string) { told++ }}
	tr.lose("")
	if changed, unsaved := tr.learn(false); changed || !unsaved || !tr.lost() {
		t.Errorf("changed %t, unsaved %t, lost %t", changed, unsaved, tr.lost())
	}
	tr.learn(true)
	if changed, unsaved := tr.learn(false); !changed || unsaved || tr.lost() {
		t.Errorf("resumed: changed %t, unsaved %t, lost %t", changed, unsaved, tr.lost())
	}
	tr.lose("")
	if told != 2 {
		t.Errorf("told %d times", told)
	}
}
