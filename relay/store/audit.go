package store

import (
	"cmp"
	"context"
	"encoding/json"
	"regexp"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/event"
	"kuairelay/relay/store/db"
)

const (
	// auditCount bounds the entries of the audit in total. Of these a tenant has at most auditShare, and the operator
	// auditOperator times as many: one who does much loses the oldest of its own entries.
	auditCount    = 5000
	auditShare    = 250
	auditOperator = 8
	// auditLife is how long an entry is kept.
	auditLife = 90 * 24 * time.Hour
	// auditAlike is for how long acts that are alike are one entry.
	auditAlike = time.Minute

	// auditSlice is how many entries are read in a slice, and auditLooked how many for a page.
	auditSlice  = 50
	auditLooked = 1000
)

// auditText is what is kept of an act as one text. Acts that are alike have the same.
type auditText struct {
	Key     string `json:"key,omitempty"`
	From    string `json:"from,omitempty"`
	What    string `json:"what"`
	Tenant  string `json:"tenant,omitempty"`
	Subject string `json:"subject,omitempty"`
	Result  string `json:"result,omitempty"`
}

// Note writes an act into the audit; see lua/audit.lua.
func (s *Store) Note(ctx context.Context, a event.Act) (err error) {
	defer db.Wrap(&err, "note an act")
	text, err := json.Marshal(auditText{
		Key:     a.By.Key,
		From:    a.By.From,
		What:    a.What,
		Tenant:  a.Tenant,
		Subject: a.Subject,
		Result:  a.Result,
	})
	if err != nil {
		return err
	}

	most := cmp.Or(s.o.AuditCount, auditCount)
	share := cmp.Or(s.o.AuditShare, auditShare)
	if a.By.Name == event.Operator {
		share *= auditOperator
	}
	_, err = s.db.Call(ctx, auditScript, 1,
		auditLife.Milliseconds(), most, share, auditAlike.Milliseconds(), s.db.NewCall(),
		a.By.Name, text, a.Count)
	return err
}

var streamID = regexp.MustCompile(`^[0-9]+-[0-9]+$`)

// Acts lists the acts of the audit that a query wants, the latest first. next is the cursor of the next page, empty at
// the end. A page may have fewer acts than are asked for, even none, and still a next one.
func (s *Store) Acts(ctx context.Context, q event.ActQuery) (page []event.Act, next string, err error) {
	from := "+"
	if q.Cursor != "" {
		if !streamID.MatchString(q.Cursor) {
			return nil, "", event.ErrCursor
		}
		from = "(" + q.Cursor
	}
	defer db.Wrap(&err, "list the audit")

	for range auditLooked / auditSlice {
		var found []redis.XMessage
		err := s.db.InTurn(ctx, func(ctx context.Context) (err error) {
			found, err = s.db.Client.XRevRangeN(ctx, s.db.Key("audit"), from, "-", auditSlice).Result()
			return err
		})
		if err != nil {
			return nil, "", err
		}

		for _, entry := range found {
			a := readAct(entry)
			if a.At.Before(q.Since) {
				return page, "", nil
			}
			next = entry.ID
			if q.Match(&a) {
				page = append(page, a)
			}
			if len(page) == q.Most {
				return page, next, nil
			}
		}
		if len(found) < auditSlice {
			return page, "", nil
		}
		from = "(" + next
	}
	return page, next, nil
}

// readAct reads an entry of the audit as lua/audit.lua writes it.
func readAct(entry redis.XMessage) event.Act {
	field := func(name string) string {
		v, _ := entry.Values[name].(string)
		return v
	}
	var text auditText
	_ = json.Unmarshal([]byte(field("a")), &text) // it was written here
	return event.Act{
		At:      time.UnixMilli(db.Number(field("l"))),
		By:      event.Actor{Name: field("b"), Key: text.Key, From: text.From},
		What:    text.What,
		Tenant:  text.Tenant,
		Subject: text.Subject,
		Result:  text.Result,
		Count:   int(db.Number(field("m"))),
		Times:   int(db.Number(field("n"))),
	}
}
