package api

import (
	"cmp"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"time"

	"kuairelay/relay/event"
)

// This file looks into many callbacks of the quarantine at a time, within bounds.

const (
	// lookedMost and lookedBytes bound how many callbacks of quarantine one request looks into, and how many bytes of them
	// it reads, up to a page of the store more. As many bytes are parsed again at most.
	lookedMost  = 500
	lookedBytes = 5 << 20
	// lookedPage is how many are read at a time.
	lookedPage = 100
	// lookAtOne bounds the bytes of one callback that are parsed to show what it would come to.
	lookAtOne = 16 << 20
	// reasonsMost is how many reasons are told apart.
	reasonsMost = 50
)

// QuarantineSummary counts what is in quarantine by the reasons.
type QuarantineSummary struct {
	Groups     []QuarantineGroup `json:"groups" doc:"the largest first, at most 50; all other reasons are one group, which has none"`
	Total      int               `json:"total" doc:"how many callbacks and items are in quarantine"`
	Looked     int               `json:"looked" doc:"how many were looked at, the latest first"`
	Parsed     int               `json:"parsed" doc:"how many were parsed again: those that are not too large"`
	Understood int               `json:"understood" doc:"how many of these would be understood now, all of each"`
}

// QuarantineGroup is what is in quarantine for the same reason.
type QuarantineGroup struct {
	Reason     string    `json:"reason" doc:"why it could not be understood; n stands for a position"`
	Count      int       `json:"count" doc:"how many callbacks and items"`
	LatestAt   time.Time `json:"latest_at" doc:"when the latest of them arrived"`
	LatestID   string    `json:"latest_id" doc:"its id"`
	Parsed     int       `json:"parsed" doc:"how many were parsed again"`
	Understood int       `json:"understood" doc:"how many of these would be understood now"`
}

// readGroup reads by what the quarantine is grouped.
func readGroup(s string) (string, error) {
	if s != "reason" {
		return "", errors.New("must be reason")
	}
	return s, nil
}

// eachQuarantined hands use what is in quarantine from an offset on, the latest first, until use says false, or enough
// was looked at. next is the cursor to go on with, empty at the end.
func (c *call) eachQuarantined(offset int, use func(event.Quarantined) bool) (next string, looked int, err error) {
	size := 0
	for {
		page, next, err := c.quarantined(offset, min(lookedPage, lookedMost-looked))
		if err != nil {
			return "", looked, err
		}
		for i, q := range page {
			looked++
			size += len(q.Raw)
			if !use(q) && (next != "" || i < len(page)-1) {
				return strconv.Itoa(offset + i + 1), looked, nil
			}
		}
		if next == "" || looked >= lookedMost || size >= lookedBytes {
			return next, looked, nil
		}
		offset, _ = parseOffset(next) // it was made here
	}
}

// lookAt says what a callback would come to now, if that is not more than most bytes, and how many there were.
func (c *call) lookAt(q event.Quarantined, most int) (*QuarantineNow, int) {
	end := c.aside(c.ctx())
	defer end()
	l, ok := c.o.Look(q, most)
	if !ok {
		return nil, 0
	}
	now := QuarantineNow{Understood: l.Rejected == 0, Events: l.Events, Rejected: l.Rejected, Reason: l.Reason}
	return &now, l.Bytes
}

// groupQuarantine counts by their reasons the latest callbacks that a filter takes.
func (c *call) groupQuarantine(f quarantineFilter) (*QuarantineSummary, error) {
	total, err := c.quarantine.CountQuarantined(c.ctx(), c.now())
	if err != nil {
		return nil, c.failed("count quarantine", err)
	}
	out := &QuarantineSummary{Groups: []QuarantineGroup{}, Total: total.All}
	groups := make(map[string]*QuarantineGroup)
	room := lookedBytes
	_, out.Looked, err = c.eachQuarantined(0, func(q event.Quarantined) bool {
		if !f.takes(q) {
			return true
		}

		reason := groupOf(q.Reason)
		if groups[reason] == nil && len(groups) >= reasonsMost {
			reason = ""
		}
		g := groups[reason]
		if g == nil {
			g = &QuarantineGroup{Reason: reason, LatestAt: utc(q.ReceivedAt), LatestID: q.ID}
			groups[reason] = g
		}
		g.Count++

		// To find that one does not fit may take as long as to parse it: that costs half of the room.
		now, size := c.lookAt(q, room)
		if now == nil {
			room /= 2
			return true
		}
		room -= size
		g.Parsed++
		if now.Understood {
			g.Understood++
		}
		return true
	})
	if err != nil {
		return nil, err
	}

	for _, g := range groups {
		out.Groups = append(out.Groups, *g)
		out.Parsed += g.Parsed
		out.Understood += g.Understood
	}
	slices.SortFunc(out.Groups, func(a, b QuarantineGroup) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Reason, b.Reason))
	})
	return out, nil
}

// groupOf is the reason of the group that a reason belongs to.
func groupOf(reason string) string { return positions.ReplaceAllString(reason, "${1}n${2}") }

// positions are those of a reason: reasons that differ in them only are one.
var positions = regexp.MustCompile(`\b((?:item|field|part) )[0-9]+|\b[0-9]+( more items)`)

// QuarantineDismissed is what came of a request to remove callbacks.
type QuarantineDismissed struct {
	Done int    `json:"done" doc:"how many were removed: the others were not there"`
	Next string `json:"next,omitempty" doc:"with all: there may be more, ask again with this cursor"`
}

// dismissQuarantine removes callbacks from quarantine for good.
func dismissQuarantine(c *call) (QuarantineDismissed, error) {
	var request quarantineRequest
	if err := c.body(&request); err != nil {
		return QuarantineDismissed{}, err
	}
	if err := request.check(); err != nil {
		return QuarantineDismissed{}, err
	}
	ids, end, more, err := c.toDismiss(request)
	if err != nil {
		return QuarantineDismissed{}, err
	}

	n, err := c.quarantine.Unquarantine(c.ctx(), ids...)
	if n > 0 {
		c.did("", onlyOf(ids), n)
	}
	if err != nil {
		return QuarantineDismissed{}, c.failed("take out of quarantine", err)
	}
	if n == 0 {
		c.didNothing()
	}
	out := QuarantineDismissed{Done: n}
	if more {
		out.Next = strconv.Itoa(max(0, end-n)) // those removed are gone
	}
	return out, nil
}

// toDismiss gives the ids that a request is about: if it asks for all, those among as many as one request looks into.
// end is the offset behind them, and more says that there are others.
func (c *call) toDismiss(request quarantineRequest) (ids []string, end int, more bool, err error) {
	switch {
	case !request.All:
		return request.IDs, 0, false, nil
	case request.Reason+request.Contains == "":
		return nil, 0, false, badf("all: reason or contains must say which, since they are removed for good")
	}
	offset, err := request.offset()
	if err != nil {
		return nil, 0, false, err
	}
	next, _, err := c.eachQuarantined(offset, func(q event.Quarantined) bool {
		if request.takes(q) {
			ids = append(ids, q.ID)
		}
		return len(ids) < lookedPage
	})
	end, _ = parseOffset(next) // it was made here, or is empty
	return ids, end, next != "", err
}
