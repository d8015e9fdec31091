package api

import (
	"errors"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"kuairelay/relay/event"
)

// listDeadLetters gives a page of dead letters, the latest first, or, with group, how many there are of each kind.
func listDeadLetters(c *call) (DeadLetters, error) {
	r := c.reader()
	limit := r.limit()
	cursor := r.param("cursor")
	group := r.param("group")
	total := r.flag("total")
	f := letterFilter{Reason: r.param("reason"), filter: r.filter()}
	if err := r.end(); err != nil {
		return DeadLetters{}, err
	}
	if err := f.ofDeadLetters(); err != nil {
		return DeadLetters{}, err
	}
	if group != "" {
		return c.groupDeadLetters(f, group)
	}

	letters, next, err := c.readDeadLetters(f, cursor, limit)
	if err != nil {
		return DeadLetters{}, err
	}
	out := DeadLetters{DeadLetters: make([]DeadLetter, len(letters)), Next: next}
	for i, l := range letters {
		out.DeadLetters[i] = DeadLetter{
			EventID:     l.EventID,
			Endpoint:    l.Endpoint,
			DeadAt:      utc(l.DeadAt),
			Attempts:    l.Attempts,
			Reason:      l.Reason,
			Type:        l.Type,
			WaybillCode: l.WaybillCode,
			CPCode:      l.CPCode,
			Status:      l.Status,
		}
	}
	if total {
		n := 0
		n, out.AtLeast, err = c.countDeadLetters(f)
		out.Total = &n
		if err == nil {
			out.Ending, err = c.countEnding(f)
		}
		out.Kept = c.settings.DeadLetterRetention.String()
	}
	return out, err
}

// letterFilter limits what is listed or done with dead letters. Since and Until are compared with the time when they
// were given up.
type letterFilter struct {
	filter

	Reason string `json:"reason,omitempty" doc:"given up for this reason, word for word"`
}

// endingWithin is how soon dead letters end that are counted as ending.
const endingWithin = 24 * time.Hour

// countEnding counts the dead letters of a filter's endpoints and times that end soon, because they are kept no longer.
func (c *call) countEnding(f letterFilter) (int, error) {
	until := c.now().Add(endingWithin - c.settings.DeadLetterRetention)
	if !f.Until.IsZero() && f.Until.Before(until) {
		until = f.Until
	}
	n, err := c.deadLetters.CountDeadLetters(c.ctx(), f.endpoints(c), f.Since, until)
	if err != nil {
		return 0, c.failed("count dead letters", err)
	}
	return n, nil
}

// ofDeadLetters refuses a state that no dead letter has.
func (f *letterFilter) ofDeadLetters() error {
	if f.State != "" && f.State != string(event.StateDead) {
		return badf("state: the state of a dead letter is dead")
	}
	return nil
}

// lettersAtOnce is the most dead letters that one request for all changes. Redriving that many takes a fifth of a
// second.
const lettersAtOnce = 100

// maxPages is the most pages of dead letters that one answer reads. It reads on only if the filter takes nothing of a
// page.
const maxPages = 6

// readDeadLetters gives a page, and the cursor of the next. The filter's times are compared with the time of giving up.
// A page may be empty and still have a next.
func (c *call) readDeadLetters(f letterFilter, cursor string, limit int) ([]event.DeadLetter, string, error) {
	endpoints := f.endpoints(c)
	for range maxPages {
		found, next, err := c.deadLetters.DeadLetters(c.ctx(), endpoints, cursor, limit)
		if err != nil {
			return nil, "", c.failed("list dead letters", err)
		}

		var taken []event.DeadLetter
		for _, l := range found {
			if !f.Since.IsZero() && l.DeadAt.Before(f.Since) {
				return taken, "", nil // all that follow are older
			}
			if f.matchesDeadLetter(l) {
				taken = append(taken, l)
			}
		}
		if len(taken) > 0 || next == "" {
			return taken, next, nil
		}
		cursor = next
	}
	return nil, cursor, nil
}

// matchesDeadLetter says whether a dead letter passes the filter. It does not check the endpoint (the store does) or
// since (readDeadLetters does).
func (f *letterFilter) matchesDeadLetter(l event.DeadLetter) bool {
	return (f.Until.IsZero() || l.DeadAt.Before(f.Until)) &&
		takes(f.Brand, l.CPCode) && takes(f.Status, event.Word(l.Type, l.WaybillCode, l.Status)) &&
		(f.WaybillCode == "" || l.WaybillCode == f.WaybillCode) &&
		(f.Reason == "" || l.Reason == f.Reason)
}

// deadLetterRequest says which dead letters to change.
type deadLetterRequest struct {
	Letters []deadLetterName `json:"dead_letters,omitempty" doc:"these"`
	All     bool             `json:"all,omitempty" doc:"all that the filter selects; an empty filter selects all"`
	Filter  letterFilter     `json:"filter,omitzero" doc:"since and until are compared with the time they were given up"`
	Cursor  string           `json:"cursor,omitempty" doc:"with all: the next of an earlier answer"`
	DryRun  bool             `json:"dry_run,omitempty" doc:"only count, with all"`
	Expect  int              `json:"expect,omitempty" doc:"how many there should be: if there are over a tenth more, the answer is 409 and nothing is changed. With all it is of use in the first request, without a cursor"`
}

type deadLetterName struct {
	EventID  string `json:"event_id" doc:"id of the event"`
	Endpoint string `json:"endpoint" doc:"tenant/endpoint"`
}

// DeadLettersResult is the result of a change of dead letters.
type DeadLettersResult struct {
	Done    int    `json:"done" doc:"how many were changed"`
	Next    string `json:"next,omitempty" doc:"there may be more that the filter selects: ask again with this cursor"`
	Count   *int   `json:"count,omitempty" doc:"of a dry run: how many the filter selects"`
	AtLeast bool   `json:"at_least,omitempty" doc:"count is of the latest 10,000 that were looked at: there are more"`
	Error   string `json:"error,omitempty" doc:"why it ended in the middle, after it had changed some: done says how many; none: it did not. The same request goes on"`
}

func redriveDeadLetters(c *call) (DeadLettersResult, error) {
	return c.changeDeadLetters(func(endpoint string, ids []string) (int, error) {
		n, err := c.deadLetters.Redrive(c.ctx(), endpoint, ids...)
		c.o.OnDue(endpoint)
		c.tellLetters(endpoint, event.LogRedriven, n)
		return n, err
	}, false)
}

func dismissDeadLetters(c *call) (DeadLettersResult, error) {
	return c.changeDeadLetters(func(endpoint string, ids []string) (int, error) {
		n, err := c.deadLetters.Dismiss(c.ctx(), endpoint, ids...)
		c.tellLetters(endpoint, event.LogDismissed, n)
		return n, err
	}, true)
}

// detailOf is the text of an answer that is an error.
func detailOf(err error) string {
	if he, ok := errors.AsType[*echo.HTTPError](err); ok {
		if text, ok := he.Message.(string); ok {
			return text
		}
	}
	return err.Error()
}

// tellLetters writes into the log of an endpoint how many of its dead letters were changed.
func (c *call) tellLetters(endpoint string, what event.LogKind, n int) {
	if n > 0 {
		c.tell(endpoint, event.LogEntry{What: what, N: n})
	}
}

// changeDeadLetters calls do with the dead letters that the request names. Of a filter it takes at most lettersAtOnce
// at a time. removedToo says whether the filter may be for endpoints that were removed.
func (c *call) changeDeadLetters(do func(endpoint string, ids []string) (int, error), removedToo bool) (
	DeadLettersResult, error) {
	request, err := c.deadLetterRequest(removedToo)
	if err != nil {
		return DeadLettersResult{}, err
	}
	if request.DryRun {
		c.didNothing()
	}
	if request.DryRun || (request.Expect > 0 && request.Cursor == "") {
		count, atLeast, err := c.countRequested(request)
		if err != nil || request.DryRun {
			return DeadLettersResult{Count: &count, AtLeast: atLeast}, err
		}
	}

	byEndpoint, next, err := c.deadLetterIDs(request)
	if err != nil {
		return DeadLettersResult{}, err
	}

	out := DeadLettersResult{Next: next}
	for endpoint, ids := range byEndpoint {
		n, err := do(endpoint, ids)
		if n > 0 {
			c.didTo(endpoint, n)
		}
		out.Done += n
		if err != nil && out.Done > 0 { // the answer says how many: a mistake would not
			out.Next = request.Cursor
			out.Error = detailOf(c.failed("change dead letters", err))
			c.deeds.result = "ended in the middle"
			return out, nil
		}
		if err != nil {
			return DeadLettersResult{}, c.failed("change dead letters", err)
		}
	}
	if out.Done == 0 {
		c.didNothing()
	}
	return out, nil
}

// deadLetterRequest reads and checks a body.
func (c *call) deadLetterRequest(removedToo bool) (deadLetterRequest, error) {
	var request deadLetterRequest
	if err := c.body(&request); err != nil {
		return deadLetterRequest{}, err
	}
	if request.All == (len(request.Letters) > 0) {
		return deadLetterRequest{}, badf("the body: give either dead_letters or all")
	}
	if len(request.Letters) > maxLimit {
		return deadLetterRequest{}, badf("dead_letters: at most %d at a time", maxLimit)
	}
	if request.DryRun && !request.All {
		return deadLetterRequest{}, badf("dry_run: goes with all")
	}
	if request.Expect < 0 {
		return deadLetterRequest{}, badf("expect: must be the number of a dry run")
	}
	request.Filter.removedToo = removedToo
	if err := request.Filter.check(c); err != nil {
		return deadLetterRequest{}, err
	}
	return request, request.Filter.ofDeadLetters()
}

// countRequested counts the dead letters that a request is about. It is an error if these are more than it expects.
func (c *call) countRequested(request deadLetterRequest) (count int, atLeast bool, err error) {
	count = len(request.Letters)
	if request.All {
		count, atLeast, err = c.countDeadLetters(request.Filter)
	}
	if err == nil {
		err = checkExpected(request.Expect, count)
	}
	return count, atLeast, err
}

// checkExpected is the answer to a request that expects so many (0: any number), but would take over a tenth more.
func checkExpected(expect, count int) error {
	if !OverExpected(expect, count) {
		return nil
	}
	return conflictf("expect: there are %d by now, and %d were expected: nothing was done; count again", count, expect)
}

// OverExpected says whether a count is over a tenth more than was expected. 0 expects any number.
func OverExpected(expect, count int) bool { return expect > 0 && 10*count > 11*expect }

// deadLetterIDs gives the event ids of the dead letters that a request is about, by endpoint. If the request asks for
// all, it gives one page of them and the cursor of the next.
func (c *call) deadLetterIDs(request deadLetterRequest) (byEndpoint map[string][]string, next string, err error) {
	byEndpoint = make(map[string][]string)
	if request.All {
		letters, next, err := c.readDeadLetters(request.Filter, request.Cursor, lettersAtOnce)
		for _, l := range letters {
			byEndpoint[l.Endpoint] = append(byEndpoint[l.Endpoint], l.EventID)
		}
		return byEndpoint, next, err
	}

	for _, l := range request.Letters {
		endpoint := l.Endpoint
		if !strings.Contains(endpoint, "/") {
			endpoint = c.tenant + "/" + endpoint
		}
		if !c.sees(endpoint) {
			return nil, "", badf("dead_letters: %s is not yours: a tenant's key is for its own endpoints", endpoint)
		}
		if event.IsID(l.EventID) { // another text names no dead letter
			byEndpoint[endpoint] = append(byEndpoint[endpoint], l.EventID)
		}
	}
	return byEndpoint, "", nil
}
