package api

import (
	"strings"

	"go.uber.org/zap"

	"kuairelay/relay/event"
)

// listDeadLetters answers a page of dead letters, the latest first.
func listDeadLetters(c *call) (DeadLetters, error) {
	r := c.reader()
	limit, cursor, f := r.limit(), r.take("cursor"), r.filter()
	if err := r.end(); err != nil {
		return DeadLetters{}, err
	}
	if err := f.ofDeadLetters(); err != nil {
		return DeadLetters{}, err
	}
	letters, next, err := c.letters(f, cursor, limit)
	if err != nil {
		return DeadLetters{}, err
	}
	out := DeadLetters{DeadLetters: make([]DeadLetter, len(letters)), Next: next}
	for i, l := range letters {
		out.DeadLetters[i] = DeadLetter{EventID: l.EventID, Endpoint: l.Endpoint, DeadAt: utc(l.DeadAt), Attempts: l.Attempts, Reason: l.Reason,
			Type: l.Type, WaybillCode: l.WaybillCode, CPCode: l.CPCode, Status: l.Status}
	}
	return out, nil
}

// ofDeadLetters refuses what makes no sense of dead letters.
func (f *filter) ofDeadLetters() error {
	if f.State != "" && f.State != string(event.StateDead) {
		return badf("state: of a dead letter it is dead")
	}
	return nil
}

// letters reads a page. The times of the filter are those at which the letters were given up.
func (c *call) letters(f filter, cursor string, limit int) ([]event.DeadLetter, string, error) {
	endpoints := f.endpoints(c)
	var out []event.DeadLetter
	for pages := 0; ; pages++ {
		found, next, err := c.deadLetters.Letters(c.ctx(), endpoints, cursor, limit)
		if err != nil {
			return nil, "", c.failed("list dead letters", err)
		}
		for _, l := range found {
			if !f.Since.IsZero() && l.DeadAt.Before(f.Since) {
				return out, "", nil // all that follow are older
			}
			if (f.Until.IsZero() || l.DeadAt.Before(f.Until)) && (f.Brand == "" || l.CPCode == f.Brand) &&
				(f.Status == "" || l.Status == f.Status) && (f.WaybillCode == "" || l.WaybillCode == f.WaybillCode) {
				out = append(out, l)
			}
		}
		if next == "" || len(out) > 0 || pages == 5 {
			return out, next, nil
		}
		cursor = next
	}
}

// letterRequest says which dead letters are meant.
type letterRequest struct {
	Letters []letterName `json:"dead_letters,omitempty" doc:"these"`
	All     bool         `json:"all,omitempty" doc:"all that the filter takes; an empty filter takes everything"`
	Filter  filter       `json:"filter,omitzero" doc:"its since and until are times at which they were given up"`
	Cursor  string       `json:"cursor,omitempty" doc:"the next of an earlier answer, with all"`
}

type letterName struct {
	EventID  string `json:"event_id"`
	Endpoint string `json:"endpoint"`
}

// LettersDone is what became of dead letters.
type LettersDone struct {
	Done int    `json:"done" doc:"how many it was"`
	Next string `json:"next,omitempty" doc:"there may be more that the filter takes: ask again with this cursor"`
}

func redriveDeadLetters(c *call) (LettersDone, error) {
	return c.withLetters("redriven", func(endpoint string, ids []string) (int, error) {
		n, err := c.deadLetters.Redrive(c.ctx(), endpoint, ids...)
		c.o.OnDue(endpoint)
		return n, err
	})
}

func dismissDeadLetters(c *call) (LettersDone, error) {
	return c.withLetters("dismissed", func(endpoint string, ids []string) (int, error) {
		return c.deadLetters.Dismiss(c.ctx(), endpoint, ids...)
	})
}

// withLetters does something with the dead letters that the request names, at most maxLimit of a filter at a time.
func (c *call) withLetters(done string, do func(endpoint string, ids []string) (int, error)) (LettersDone, error) {
	var request letterRequest
	if err := c.body(&request); err != nil {
		return LettersDone{}, err
	}
	if request.All == (len(request.Letters) > 0) {
		return LettersDone{}, badf("the body: either dead_letters or all must say which")
	}
	if len(request.Letters) > maxLimit {
		return LettersDone{}, badf("dead_letters: at most %d at a time", maxLimit)
	}
	if err := request.Filter.check(c); err != nil {
		return LettersDone{}, err
	}
	if err := request.Filter.ofDeadLetters(); err != nil {
		return LettersDone{}, err
	}
	byEndpoint := make(map[string][]string)
	out := LettersDone{}
	if request.All {
		letters, next, err := c.letters(request.Filter, request.Cursor, maxLimit)
		if err != nil {
			return LettersDone{}, err
		}
		out.Next = next
		for _, l := range letters {
			byEndpoint[l.Endpoint] = append(byEndpoint[l.Endpoint], l.EventID)
		}
	}
	for _, l := range request.Letters {
		if !strings.Contains(l.Endpoint, "/") {
			l.Endpoint = c.tenant + "/" + l.Endpoint
		}
		if !c.sees(l.Endpoint) {
			return LettersDone{}, badf("dead_letters: %s is not yours: a tenant's key is for its own endpoints", l.Endpoint)
		}
		if event.IsID(l.EventID) { // what is none names no dead letter
			byEndpoint[l.Endpoint] = append(byEndpoint[l.Endpoint], l.EventID)
		}
	}
	for endpoint, ids := range byEndpoint {
		n, err := do(endpoint, ids)
		if err != nil {
			return LettersDone{}, c.failed("change dead letters", err)
		}
		out.Done += n
		c.note(done, endpoint, zap.Int("dead_letters", n))
	}
	return out, nil
}
