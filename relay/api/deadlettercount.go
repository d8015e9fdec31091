package api

import (
	"cmp"
	"slices"

	"kuairelay/relay/event"
)

const (
	// countedMost is how many dead letters one request looks at, the latest, to count those that a filter takes. That
	// takes about a second.
	countedMost = 10_000
	// groupsMost is how many groups one answer has, those with the most dead letters.
	groupsMost = 100
)

// countDeadLetters counts the dead letters that a filter takes. atLeast says that it has not looked at all of them.
func (c *call) countDeadLetters(f letterFilter) (n int, atLeast bool, err error) {
	// Endpoints and times are what the store knows without reading them.
	if f.Brand+f.Status+f.WaybillCode+f.Reason == "" {
		n, err = c.deadLetters.CountDeadLetters(c.ctx(), f.endpoints(c), f.Since, f.Until)
		if err != nil {
			return 0, false, c.failed("count dead letters", err)
		}
		return n, false, nil
	}

	whole, err := c.scanDeadLetters(f, func(event.DeadLetter) { n++ })
	return n, !whole, err
}

// scanDeadLetters calls take with the dead letters that a filter takes, the latest first. It looks at countedMost of
// them; whole says that there are no more.
func (c *call) scanDeadLetters(f letterFilter, take func(event.DeadLetter)) (whole bool, err error) {
	endpoints := f.endpoints(c)
	cursor := ""
	for range countedMost / maxLimit {
		page, next, err := c.deadLetters.DeadLetters(c.ctx(), endpoints, cursor, maxLimit)
		if err != nil {
			return false, c.failed("count dead letters", err)
		}
		for _, l := range page {
			if !f.Since.IsZero() && l.DeadAt.Before(f.Since) {
				return true, nil // all that follow are older
			}
			if f.matchesDeadLetter(l) {
				take(l)
			}
		}
		if next == "" {
			return true, nil
		}
		cursor = next
	}
	return false, nil
}

// groupDeadLetters sums up the dead letters that a filter takes, by reason or endpoint.
func (c *call) groupDeadLetters(f letterFilter, by string) (DeadLetters, error) {
	keyOf := map[string]func(event.DeadLetter) string{
		"reason":   func(l event.DeadLetter) string { return l.Reason },
		"endpoint": func(l event.DeadLetter) string { return l.Endpoint },
	}[by]
	if keyOf == nil {
		return DeadLetters{}, badf("group: must be reason or endpoint")
	}

	// They come the latest first: the first of a group is its example.
	out := DeadLetters{DeadLetters: []DeadLetter{}, Groups: []DeadLetterGroup{}}
	groups := make(map[string]int)
	total := 0
	whole, err := c.scanDeadLetters(f, func(l event.DeadLetter) {
		key := keyOf(l)
		at, known := groups[key]
		if !known {
			at = len(out.Groups)
			groups[key] = at
			out.Groups = append(out.Groups, DeadLetterGroup{
				LastAt:  utc(l.DeadAt),
				Example: deadLetterName{EventID: l.EventID, Endpoint: l.Endpoint},
			})
		}
		g := &out.Groups[at]
		g.Count++
		g.FirstAt = utc(l.DeadAt)
		if by == "reason" {
			g.Reason = key
		} else {
			g.Endpoint = key
		}
		total++
	})
	if err != nil {
		return DeadLetters{}, err
	}

	slices.SortStableFunc(out.Groups, func(a, b DeadLetterGroup) int { return cmp.Compare(b.Count, a.Count) })
	out.GroupsLeft = max(0, len(out.Groups)-groupsMost)
	out.Groups = out.Groups[:len(out.Groups)-out.GroupsLeft]
	out.Total = &total
	out.AtLeast = !whole
	return out, nil
}
