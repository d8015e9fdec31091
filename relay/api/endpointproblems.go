package api

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"kuairelay/relay/queue"
)

// ofEndpoints are the problems of endpoints. Of one kind, the oldest are told each, and all others together.
func (f *Facts) ofEndpoints() []StatusProblem {
	byCode := map[string][]StatusProblem{}
	for _, e := range f.Endpoints {
		for _, p := range f.ofEndpoint(e) {
			byCode[p.Code] = append(byCode[p.Code], p)
		}
	}

	all := f.unknownEndpoints()
	for _, code := range ProblemCodes() {
		some := byCode[code]
		slices.SortStableFunc(some, worstFirst)
		if len(some) > problemsPerCode {
			rest := some[problemsPerCode:]
			more := rest[0]
			more.Subject = moreEndpoints(len(rest))
			more.key = moreKey
			more.Links.Page = "endpoints"
			more.Why = ""
			some = append(some[:problemsPerCode:problemsPerCode], more)
		}
		all = append(all, some...)
	}
	return all
}

// moreKey is the key of endpoints that are told together: their number changes.
const moreKey = "more"

// ofEndpoint are the problems of one endpoint. What one of them explains is no problem of its own.
func (f *Facts) ofEndpoint(e EndpointFacts) (all []StatusProblem) {
	p := StatusProblem{Severity: Warning, Subject: e.Endpoint, Links: Links{Page: "endpoints/" + e.Endpoint}}
	waits := howMany(e.Open+e.Waiting, "delivery waits", "deliveries wait")
	last := ""
	if e.LastError != nil {
		latest := *e.LastError
		if f.Unquoted && latest.Status != 0 {
			latest.Text = ""
		}
		last = "the latest attempt: " + told(latest)
	}

	switch {
	case e.State == EndpointState(queue.ParkedOpen):
		p.Code, p.Since, p.Why = BreakerOpen, e.Since, last
		p.What = "it fails, so that its breaker is open: " + waits
		p.Do = "mend the receiver; it is tried again by itself"
		if !e.Until.IsZero() {
			p.Do += ", the next time at " + stamp(e.Until)
		}
	case e.State == EndpointState(queue.ParkedGone):
		p.Code, p.Since = EndpointGone, e.Since
		p.What = "it gets nothing until somebody resumes it: " + waits
		p.Why = "it answered 410"
		p.Do = "ask its tenant; then kuairelay resume " + e.Endpoint + ", or take it out of the config"
	case e.State == EndpointFailing:
		p.Code, p.Since, p.Why = EndpointFails, e.FailingSince, last
		p.What = "its attempts fail" + e.LastHour.failed() + ": " + waits
		p.Do = "mend the receiver; each delivery is tried again by itself, until delivery.max_age"
	case e.State == EndpointState(queue.ParkedPaused):
	case f.getsNothing(e):
		p.Code, p.Since = GetsNothing, cmp.Or(e.DeliveredAt, e.OldestAt)
		p.What = "it got nothing for a quarter of an hour: " + waits
		p.Why = "no attempt fails: they may wait for a retry, for its rate, or for a receiver that takes long"
		if e.LastHour.Failed > 0 {
			p.Why = "attempts fail now and then" + e.LastHour.failed() + ": their deliveries wait for a retry"
		}
		p.Do = "look at one of its events (kuairelay events --endpoint " + e.Endpoint + " --state open)"
	case !e.OldestAt.IsZero() && f.Now.Sub(e.OldestAt) > backlogLate:
		p.Code, p.Since, p.Why = BacklogOld, e.OldestAt, last
		p.What = "it is owed a delivery for longer than 6 hours: " + waits
		p.Do = "see what it waits for (kuairelay events --endpoint " + e.Endpoint + " --state open)"
	}
	if p.Code != "" {
		all = append(all, p)
	}

	if e.Dead > 0 && f.Now.Sub(e.LatestDead) < risingWithin {
		all = append(all, StatusProblem{
			Code: DeadLettersRising, Severity: Warning, Since: e.LatestDead, Subject: e.Endpoint,
			What: "it has " + deadLetters(e.Dead) + e.newDead(),
			Why:  last, Do: "see why (kuairelay dead-letters --endpoint " + e.Endpoint + "), mend that, and redrive them",
			Links: Links{Page: "dead-letters?endpoint=" + e.Endpoint},
		})
	}
	return all
}

// failed is how many attempts of the last hour failed, in words.
func (c DayCell) failed() string {
	if c.Failed == 0 {
		return ""
	}
	return fmt.Sprintf(" (%d of %d within the last hour)", c.Failed, c.Delivered+c.Failed)
}

// newDead is how many of its dead letters are new, in words.
func (e EndpointFacts) newDead() string {
	if n := min(e.LastHour.Dead, e.Dead); n > 0 {
		return fmt.Sprintf(", %d of them of the last hour", n)
	}
	return ", the latest within the last hour"
}

// getsNothing says whether an endpoint has something open, and got nothing for long.
func (f *Facts) getsNothing(e EndpointFacts) bool {
	return !e.OldestAt.IsZero() && f.Now.Sub(e.OldestAt) > nothingFor && f.Now.Sub(e.DeliveredAt) > nothingFor
}

// unknownEndpoints are the problems of those that are in no config, but have something.
func (f *Facts) unknownEndpoints() (all []StatusProblem) {
	for _, e := range f.Unknown {
		all = append(all, StatusProblem{
			Code: EndpointUnknown, Severity: Warning, Since: e.Oldest, Subject: e.Endpoint,
			What: fmt.Sprintf("it is not in the config, and has %s and %s", openDeliveries(e.Open+e.Waiting),
				deadLetters(e.Dead)),
			Why: "it was removed or renamed",
			Do:  "put it back within delivery.orphan_grace, or let its open deliveries become dead letters",
			sentences: []string{fmt.Sprintf("%s is not in the config, and has %d open deliveries and %d dead letters; "+
				"open ones become dead letters after delivery.orphan_grace", e.Endpoint, e.Open+e.Waiting, e.Dead)},
		})
	}
	if f.MoreUnknown > 0 {
		text := moreEndpoints(f.MoreUnknown)
		all = append(all, StatusProblem{
			Code: EndpointUnknown, Severity: Warning, Subject: text, key: moreKey,
			What:      "they hold something, and are not in the config",
			Do:        "put them back within delivery.orphan_grace, or let their open deliveries become dead letters",
			sentences: []string{text + " that hold something are not in the config"},
		})
	}
	return all
}

// told is an attempt that failed, in a word.
func told(a Attempt) string {
	text := a.Text
	if a.Status != 0 {
		text = strings.TrimSpace(strconv.Itoa(a.Status) + " " + text)
	}
	const most = 200 // characters of what a receiver answered
	if r := []rune(text); len(r) > most {
		text = string(r[:most]) + "…"
	}
	return fmt.Sprintf("%s, at %s", text, stamp(a.At))
}

// howMany is a number with its noun.
func howMany(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func openDeliveries(n int64) string { return howMany(n, "open delivery", "open deliveries") }
func deadLetters(n int64) string    { return howMany(n, "dead letter", "dead letters") }
func moreEndpoints(n int) string    { return howMany(int64(n), "more endpoint", "more endpoints") }
