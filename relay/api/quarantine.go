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
	Next        string             `json:"next,omitempty" doc:"cursor of the next page; none: this is the end. With reason or contains, a page may hold fewer than limit, even none, and still have a next"`
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
	Error    string   `json:"error,omitempty" doc:"with all: why it ended in the middle, after some had been released; none: it did not"`
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
	f := quarantineFilter{Reason: r.param("reason"), Contains: r.param("contains")}
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
		out.Grouped, err = c.groupQuarantine(f)
		return out, err
	case f != quarantineFilter{}:
		out.Next, _, err = c.eachQuarantined(offset, func(q event.Quarantined) bool {
			if f.takes(q) {
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
	IDs []string `json:"ids,omitempty" doc:"these"`
	All bool     `json:"all,omitempty" doc:"all that the next two select, or if there is none, all: a part in a request"`
	quarantineFilter
	Cursor string `json:"cursor,omitempty" doc:"with all: the next of an earlier answer"`
}

// quarantineFilter selects what is in quarantine. The zero filter takes all.
type quarantineFilter struct {
	Reason   string `json:"reason,omitempty" doc:"with all: those that are not understood for this reason, as group=reason names it"`
	Contains string `json:"contains,omitempty" doc:"with all: those with this text in what came"`
}

func (f quarantineFilter) takes(q event.Quarantined) bool {
	return (f.Reason == "" || groupOf(q.Reason) == f.Reason) && bytes.Contains(q.Raw, []byte(f.Contains))
}

// check finds what is wrong with a request for some or all.
func (r *quarantineRequest) check() error {
	switch {
	case r.All == (len(r.IDs) > 0):
		return badf("the body: give either ids or all")
	case len(r.IDs) > maxLimit:
		return badf("ids: at most %d at a time", maxLimit)
	case !r.All && r.Reason+r.Contains+r.Cursor != "":
		return badf("reason, contains and cursor: go with all")
	}
	return nil
}

// offset is that of the cursor.
func (r *quarantineRequest) offset() (int, error) {
	if r.Cursor == "" {
		return 0, nil
	}
	n, err := parseOffset(r.Cursor)
	if err != nil {
		return 0, badf("cursor: %v", err)
	}
	return n, nil
}

// replayQuarantine takes in callbacks as if they had just arrived. After an upgrade, the relay may understand more of
// them. Those that it understands leave quarantine.
func replayQuarantine(c *call) (QuarantineResult, error) {
	var request quarantineRequest
	if err := c.body(&request); err != nil {
		return QuarantineResult{}, err
	}
	if err := request.check(); err != nil {
		return QuarantineResult{}, err
	}

	out := QuarantineResult{Failed: []string{}}
	var err error
	if request.All {
		err = c.retakePage(request, &out)
	} else {
		err = c.retakeThese(request.IDs, &out)
	}
	if out.Tried > 0 {
		c.did("", onlyOf(request.IDs), out.Tried)
	}
	if err != nil && request.All && out.Released > 0 { // the answer says what was done: a mistake would not
		out.Error = detailOf(err)
		err = nil
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
func (c *call) retakePage(request quarantineRequest, out *QuarantineResult) error {
	offset, err := request.offset()
	if err != nil {
		return err
	}

	page, next, err := c.quarantined(offset, defaultLimit)
	if err != nil {
		return err
	}
	for _, q := range page {
		if !request.takes(q) {
			continue
		}
		if err := c.retake(q, out); err != nil {
			return err
		}
	}
	if next != "" {
		end, _ := parseOffset(next) // it was made here
		out.Next = strconv.Itoa(end - out.Released)
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
