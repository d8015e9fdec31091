package api

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// someTaken are receivers of notices of which those do not take a message whose name ends in "bad".
type someTaken []string

func (s someTaken) test(_ context.Context, _, name string) (all []NoticeTest) {
	for _, receiver := range s {
		if name == "" || name == receiver {
			all = append(all, NoticeTest{Receiver: receiver, Sent: !strings.HasSuffix(receiver, "bad")})
		}
	}
	return all
}

func TestTheAuditSaysWhichTestsOfNoticesFailed(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		receivers someTaken
		result    string
		sent      int
	}{
		{someTaken{"wecom-1", "slack-2"}, "done", 2},
		{someTaken{"wecom-1", "slack-bad", "slack-3"}, "failed: 1 of 3 not taken", 2},
		{someTaken{"slack-bad"}, "failed: 1 of 1 not taken", 0},
		{nil, "done", 0},
	} {
		b, n := acting()
		b.current.Load().TestNotices = x.receivers.test
		c, _ := b.call("", "/", "")
		err := b.asOperator(route{act: actTestNotices, handler: answering(testNotices)})(c.Context)
		if err != nil || len(n.acts) != 1 || n.acts[0].Result != x.result || n.acts[0].Count != x.sent {
			t.Errorf("%v: %v, the audit has %+v", x.receivers, err, n.acts)
		}
	}
}

func TestWhoNamesAReceiverOfNoticesThatThereIsNotIsToldWhichThereAre(t *testing.T) {
	t.Parallel()
	var many []string
	for i := range 23 {
		many = append(many, fmt.Sprintf("wecom-%d", i+1))
	}
	for _, x := range []struct {
		names []string
		want  string
	}{
		{nil, "no receiver of notices of that name, nor any other: notices in the config has none"},
		{[]string{"wecom-1", "shop/slack-1"}, "no receiver of notices of that name: there are wecom-1, shop/slack-1"},
		{many, ", wecom-20, and 3 more"},
	} {
		b := newBench(Options{})
		var asked []string
		b.current.Load().TestNotices = someTaken(nil).test
		b.current.Load().NoticeNames = func(tenant string) []string {
			asked = append(asked, tenant)
			return x.names
		}
		for _, tenant := range []string{"", "shop"} {
			_, err := ask(b, testNotices, tenant, "/", `{"receiver":"nope"}`)
			refused(t, "nope", err, 404, x.want)
		}
		if !slices.Equal(asked, []string{"", "shop"}) {
			t.Errorf("names of %q are shown", asked)
		}
	}
}
