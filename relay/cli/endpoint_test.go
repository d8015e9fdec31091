package cli

import (
	"strings"
	"testing"
	"time"

	"kuairelay/relay/api"
	"kuairelay/relay/event"
)

func TestAnEntryOfTheLogIsASentence(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		entry api.LogEntry
		want  string
	}{
		{api.LogEntry{What: event.LogOpened, N: 10, Status: 503, Text: "busy\nnow"},
			"breaker opened: 10 attempts failed in a row, the last: 503 busy now"},
		{api.LogEntry{What: event.LogOpened, N: 12, Of: 20, Text: "timeout: no whole answer in time"},
			"breaker opened: 12 of 20 attempts failed, the last: timeout: no whole answer in time"},
		{api.LogEntry{What: event.LogOpened, Status: 500}, "breaker opened again, the last: 500"},
		{api.LogEntry{What: event.LogClosed, N: 1}, "breaker closed after 1 probe that failed"},
		{api.LogEntry{What: event.LogClosed}, "breaker closed"},
		{api.LogEntry{What: event.LogGone, Status: 410}, "gone: it answered 410"},
		{api.LogEntry{What: event.LogPaused, By: "operator", From: "192.0.2.1"}, "paused by operator (192.0.2.1)"},
		{api.LogEntry{What: event.LogResumed, By: "shop", Key: "deploy", From: "::1"}, "resumed by shop (key deploy, ::1)"},
		{api.LogEntry{What: event.LogPaused, By: "operator"}, "paused by operator"},
		{api.LogEntry{What: event.LogRedriven, By: "shop", N: 12}, "redriven 12 dead letters by shop"},
		{api.LogEntry{What: event.LogReplayBegun, By: "shop", Replay: "rpl_1"}, "replay begun rpl_1 by shop"},
		{api.LogEntry{What: event.LogReplayEnded, Replay: "rpl_1", N: 1}, "replay ended rpl_1: 1 event queued"},
		{api.LogEntry{What: event.LogAdded}, "added to the config"},
		{api.LogEntry{What: event.LogRemoved}, "removed from the config"},
		{api.LogEntry{What: event.LogChanged, Changes: []api.SettingChange{
			{Key: "timeout", Old: "10s", New: "15s"}, {Key: "url"},
		}}, "config changed timeout 10s → 15s, url"},
	} {
		if got := describeEntry(x.entry); got != x.want {
			t.Errorf("%q, want %q", got, x.want)
		}
	}
}

func TestAnEndpointIsPrintedWithWhatIsWrong(t *testing.T) {
	t.Parallel()
	now := time.Now()
	page := endpointPage{
		Endpoint: api.EndpointHealth{
			Endpoint: "shop/orders", URL: "https://shop.example/hooks", State: "open", Since: now.Add(-22 * time.Minute),
			ProbeAt: now.Add(time.Minute), InRow: 38, FailingSince: now.Add(-23 * time.Minute), Open: 1204, Waiting: 31,
			Dead: 1, OldestAt: now.Add(-time.Hour), GivenUpFirstAt: now.Add(time.Hour), Sample: 100, SuccessRate: 0.31,
			LastError: &api.Attempt{At: now.Add(-time.Minute), Status: 503, Text: "\x1b[31mbusy"},
			Settings: &api.EndpointSettings{
				Timeout: "15s", Retry: []string{"5s", "5m"}, AttemptsMax: 3, MaxAge: "168h", Headers: []string{"x-team"},
				Secrets: []api.SecretSettings{{}, {Until: now.Add(time.Hour)}}, At: "config.yaml:5",
				Breaker: api.BreakerSettings{Failures: 10, Ratio: 0.5, Window: "1m", CoolOff: "5s", MaxCoolOff: "15m"},
			},
		},
		Attempts: []api.EndpointAttempt{{
			Attempt: api.Attempt{At: now, Status: 503, DurationMS: 12, Number: 4, Reason: "retry", Text: "busy"},
			EventID: "evt_1", Outcome: "retry",
		}},
		Log: []api.LogEntry{{At: now, What: event.LogPaused, By: "operator"}},
	}
	var out strings.Builder
	printEndpoint(&out, page, now)
	for _, want := range []string{
		"shop/orders  open  since ", "(22m00s ago); the next attempt may begin at ", "https://shop.example/hooks",
		"38 attempts in a row, since ", "1m00s ago: 503 [31mbusy",
		"1204 open, 31 behind them, 1 dead letter; the oldest for ≥1h00m",
		", given up at ", "of 100 attempts 31% delivered", "timeout 15s, 3 attempts", "retry 5s 5m; max_age 168h", "no rate",
		"50% of 1m; cools off for 5s to 15m", "2 secrets, one until ", "headers x-team", "from config.yaml:5",
		"retry    4       retry   12 ms  evt_1  503 busy", "paused by operator",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}

	// One that was removed has no settings, and the page says what becomes of it.
	out.Reset()
	printEndpoint(&out, endpointPage{Endpoint: api.EndpointHealth{Endpoint: "gone/ep", State: "removed", Dead: 2}}, now)
	if text := out.String(); !strings.Contains(text, "removed     it is in no config: ") ||
		!strings.Contains(text, "0 behind them, 2 dead letters\n") || strings.Contains(text, "url") {
		t.Errorf("%s", text)
	}

	// One that has nothing yet is shown all the same.
	out.Reset()
	printEndpoint(&out, endpointPage{Endpoint: api.EndpointHealth{Endpoint: "shop/orders", State: "idle"}}, now)
	if !strings.HasPrefix(out.String(), "shop/orders  idle\n") || strings.Contains(out.String(), "LOG") {
		t.Errorf("%s", out.String())
	}
}
