package api

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"kuairelay/relay/event"
)

// Quarantined is a callback, or an item of one, that was not understood.
type Quarantined struct {
	ID         string            `json:"id" doc:"qtn_ and the SHA-256 of what came"`
	Callback   string            `json:"callback,omitempty" doc:"id of the callback"`
	ReceivedAt time.Time         `json:"received_at" doc:"when the callback arrived"`
	Reason     string            `json:"reason" doc:"why it could not be understood"`
	Bytes      int               `json:"bytes" doc:"size of the callback or item"`
	Headers    map[string]string `json:"headers" doc:"headers of the callback, by name"`
	Text       string            `json:"text,omitempty" doc:"what came, if it is text; not in lists"`
	Raw        []byte            `json:"raw,omitempty" doc:"what came, in base64; not in lists"`
	Now        *QuarantineNow    `json:"now,omitempty" doc:"what this version makes of it; not in lists, and not if it is larger than 16 MiB unpacked"`
}

// QuarantineNow is what a callback, or an item of one, would come to if it were taken in again.
type QuarantineNow struct {
	Understood bool   `json:"understood" doc:"whether all of it is understood"`
	Events     int    `json:"events" doc:"how many events it would be"`
	Rejected   int    `json:"rejected" doc:"how many of its items are not understood; a callback that is not understood as a whole is one"`
	Reason     string `json:"reason,omitempty" doc:"why the first of these is not understood"`
}

// QuarantineList is a page.
type QuarantineList struct {
	Quarantined []Quarantined      `json:"quarantined" doc:"the latest first"`
	Next        string             `json:"next,omitempty" doc:"cursor of the next page; none: this is the end. With contains, a page may hold fewer than limit, even none, and still have a next"`
	Grouped     *QuarantineSummary `json:"grouped,omitempty" doc:"with group=reason, instead of a page"`
}

// QuarantineResult is the result of taking in callbacks again.
type QuarantineResult struct {
	Tried    int      `json:"tried" doc:"how many callbacks or items were tried"`
	Events   int      `json:"events" doc:"how many events they held"`
	New      int      `json:"new" doc:"how many of the events are new"`
	Released int      `json:"released" doc:"how many were wholly understood, and left quarantine"`
	Failed   []string `json:"failed" doc:"ids of the others: they stay in quarantine"`
	Next     string   `json:"next,omitempty" doc:"with all: there is more, ask again with this cursor"`
}

var errNotQuarantined = echo.NewHTTPError(http.StatusNotFound, "nothing in quarantine has this id")

// showQuarantined gives a callback as the API shows it; if whole, with its bytes.
func showQuarantined(q event.Quarantined, whole bool) Quarantined {
	out := Quarantined{
		ID:         q.ID,
		Callback:   q.Callback,
		ReceivedAt: utc(q.ReceivedAt),
		Reason:     q.Reason,
		Bytes:      len(q.Raw),
		Headers:    q.Headers,
	}
	if out.Headers == nil {
		out.Headers = map[string]string{}
	}
	if whole {
		out.Raw = q.Raw
		if utf8.Valid(q.Raw) {
			out.Text = string(q.Raw)
		}
	}
	return out
}

var errCursor = errors.New("must be the next of an earlier page")

// parseOffset reads a cursor: the number of entries before its page.
func parseOffset(cursor string) (int, error) {
	n, err := strconv.Atoi(cursor)
	if err != nil || n < 0 {
		return 0, errCursor
	}
	return n, nil
}

// listQuarantine gives a page of the quarantine, without the bytes of the callbacks, or its groups.
func listQuarantine(c *call) (QuarantineList, error) {
	r := c.reader()
	limit := r.limit()
	offset := one(r, "cursor", 0, parseOffset)
	contains := []byte(r.param("contains"))
	group := one(r, "group", "", readGroup)
	if r.err == nil && group != "" && offset > 0 {
		r.err = badf("cursor: groups have no pages")
	}
	if err := r.end(); err != nil {
		return QuarantineList{}, err
	}

	out := QuarantineList{Quarantined: []Quarantined{}}
	var err error
	switch {
	case group != "":
		out.Grouped, err = c.groupQuarantine(contains)
		return out, err
	case len(contains) > 0:
		out.Next, _, err = c.eachQuarantined(offset, func(q event.Quarantined) bool {
			if bytes.Contains(q.Raw, contains) {
				out.Quarantined = append(out.Quarantined, showQuarantined(q, false))
			}
			return len(out.Quarantined) < limit
		})
		return out, err
	}

	page, next, err := c.quarantined(offset, limit)
	if err != nil {
		return QuarantineList{}, err
	}
	out.Next = next
	for _, q := range page {
		out.Quarantined = append(out.Quarantined, showQuarantined(q, false))
	}
	return out, nil
}

// quarantined gives a page, and the cursor of the next.
func (c *call) quarantined(offset, limit int) ([]event.Quarantined, string, error) {
	page, next, err := c.quarantine.Quarantined(c.ctx(), offset, limit)
	if err != nil {
		return nil, "", c.failed("list quarantine", err)
	}
	if next == 0 {
		return page, "", nil
	}
	return page, strconv.Itoa(next), nil
}

// readQuarantined gives the callback that a path names, as it came.
func readQuarantined(c *call) (Quarantined, error) {
	q, err := c.oneQuarantined(c.Param("id"))
	if err != nil {
		return Quarantined{}, err
	}
	out := showQuarantined(*q, true)
	out.Now, _ = c.lookAt(*q, lookAtOne)
	return out, nil
}

// oneQuarantined reads the callback with this id.
func (c *call) oneQuarantined(id string) (*event.Quarantined, error) {
	q, ok, err := c.quarantine.QuarantinedByID(c.ctx(), id)
	if err != nil {
		return nil, c.failed("look into quarantine", err)
	}
	if !ok {
		return nil, errNotQuarantined
	}
	return q, nil
}

// quarantineRequest says what to take in again.
type quarantineRequest struct {
	IDs    []string `json:"ids,omitempty" doc:"these"`
	All    bool     `json:"all,omitempty" doc:"all"`
	Cursor string   `json:"cursor,omitempty" doc:"with all: the next of an earlier answer"`
}

// replayQuarantine takes in callbacks as if they had just arrived. After an upgrade, the relay may understand more of
// them. Those that it understands leave quarantine.
func replayQuarantine(c *call) (QuarantineResult, error) {
	var request quarantineRequest
	if err := c.body(&request); err != nil {
		return QuarantineResult{}, err
	}
	if request.All == (len(request.IDs) > 0) {
		return QuarantineResult{}, badf("the body: give either ids or all")
	}
	if len(request.IDs) > maxLimit {
		return QuarantineResult{}, badf("ids: at most %d at a time", maxLimit)
	}

	out := QuarantineResult{Failed: []string{}}
	var err error
	if request.All {
		err = c.retakePage(request.Cursor, &out)
	} else {
		err = c.retakeThese(request.IDs, &out)
	}
	if out.Tried > 0 {
		c.did("", onlyOf(request.IDs), out.Tried)
	}
	if err != nil {
		return QuarantineResult{}, err
	}
	c.deeds.result = fmt.Sprintf("%d of %d understood", out.Released, out.Tried)
	if out.Tried == 0 {
		c.didNothing()
	}
	return out, nil
}

// onlyOf is the id, if it is only one.
func onlyOf(ids []string) string {
	if len(ids) == 1 {
		return ids[0]
	}
	return ""
}

// retakeThese takes in the callbacks with these ids. If one is not there, none is tried.
func (c *call) retakeThese(ids []string, out *QuarantineResult) error {
	for _, id := range ids {
		if _, err := c.oneQuarantined(id); err != nil {
			return err
		}
	}

	// Each is read again when its turn comes: together they may be gigabytes.
	for _, id := range ids {
		q, err := c.oneQuarantined(id)
		if err != nil {
			return err
		}
		if err := c.retake(*q, out); err != nil {
			return err
		}
	}
	return nil
}

// retakePage takes in one page of the quarantine, and adds the cursor of the next.
func (c *call) retakePage(cursor string, out *QuarantineResult) error {
	offset := 0
	if cursor != "" {
		n, err := parseOffset(cursor)
		if err != nil {
			return badf("cursor: %v", err)
		}
		offset = n
	}

	page, next, err := c.quarantined(offset, defaultLimit)
	if err != nil {
		return err
	}
	for _, q := range page {
		if err := c.retake(q, out); err != nil {
			return err
		}
	}
	if next != "" {
		out.Next = strconv.Itoa(offset + len(out.Failed)) // those released are gone
	}
	return nil
}

// retake takes in one callback, and counts the result.
func (c *call) retake(q event.Quarantined, out *QuarantineResult) error {
	out.Tried++
	taken, err := c.o.Retake(c.ctx(), q)
	if err != nil {
		return c.failed("take in a callback from quarantine", err)
	}
	out.Events += taken.Events
	out.New += taken.New

	if taken.Rejected != "" {
		out.Failed = append(out.Failed, q.ID)
		return nil
	}
	if _, err := c.quarantine.Unquarantine(c.ctx(), q.ID); err != nil {
		return c.failed("take out of quarantine", err)
	}
	out.Released++
	return nil
}
