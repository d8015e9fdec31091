package notify

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// record is what a receiver was told of a problem.
type record struct {
	open bool      // it was told, and not that it is over
	told time.Time // when it was last told
	over time.Time // when it was last told to be over; zero: never
	was  lasting
	// alone says that this replica has told it by itself, while Redis did not answer. It is not written down.
	alone bool
}

// lasting is what a message needs to say that a problem is over.
type lasting struct {
	Code     string `json:"c"`
	Severity string `json:"s"`
	Subject  string `json:"u"`
	What     string `json:"w"`
	Began    int64  `json:"b"` // ms; 0: it is not known
}

// whatMost bounds what is remembered of a problem's text, in bytes.
const whatMost = 300

func lastingOf(p *Problem) lasting {
	began := int64(0)
	if !p.Since.IsZero() {
		began = p.Since.UnixMilli()
	}
	return lasting{Code: p.Code, Severity: p.Severity, Subject: cut(p.Subject, whatMost), What: cut(p.What, whatMost),
		Began: began}
}

// String is the record as it is written down.
func (r record) String() string {
	text, _ := json.Marshal(r.was) // it has texts and a number
	open, over := 0, int64(0)
	if r.open {
		open = 1
	}
	if !r.over.IsZero() {
		over = r.over.UnixMilli()
	}
	return fmt.Sprintf("%d %d %d %s", open, r.told.UnixMilli(), over, text)
}

// readRecord reads one; false: it is none of this version.
func readRecord(text string) (r record, ok bool) {
	parts := strings.SplitN(text, " ", 4)
	if len(parts) < 4 || json.Unmarshal([]byte(parts[3]), &r.was) != nil {
		return r, false
	}
	told, err := strconv.ParseInt(parts[1], 10, 64)
	over, errOver := strconv.ParseInt(parts[2], 10, 64)
	if err != nil || errOver != nil {
		return r, false
	}
	r.open = parts[0] == "1"
	r.told = time.UnixMilli(told)
	if over > 0 {
		r.over = time.UnixMilli(over)
	}
	return r, true
}

// keyed is a record with the code and the key of its problem.
type keyed struct {
	key string
	record
}

// stale says that a record holds nothing back any more.
func (r record) stale(now time.Time, every time.Duration) bool {
	return !r.open && now.Sub(r.told) >= every && now.Sub(r.over) >= every
}

// watch remembers which problems are seen, look by look. A problem that is seen in one look only, or missing in one,
// may be a look that came at a bad moment.
type watch struct {
	settle time.Duration // for how long a problem has to be missing until it is over
	began  time.Time     // of the first look at everything
	whole  bool          // the latest look was at everything
	seen   map[string]*sight
}

// sight is a problem as it was last seen.
type sight struct {
	Problem
	first, last time.Time
	looks       int // in a row; 0: the latest look missed it
}

// look notes what is wrong now. whole says that none is missing.
func (w *watch) look(now time.Time, problems []Problem, whole bool) {
	if w.seen == nil {
		w.seen = make(map[string]*sight)
	}
	w.whole = whole
	if whole && w.began.IsZero() {
		w.began = now
	}

	present := make(map[string]bool, len(problems))
	for _, p := range problems {
		key := p.key()
		if present[key] {
			continue
		}
		present[key] = true
		s := w.seen[key]
		if s == nil {
			s = &sight{first: now}
			w.seen[key] = s
		}
		s.Problem, s.last = p, now
		s.looks++
	}
	for key, s := range w.seen {
		switch {
		case present[key] || !whole:
		case now.Sub(s.last) >= w.settle:
			delete(w.seen, key)
		default:
			s.looks = 0
		}
	}
}

// sure says that a problem is there: it was seen twice in a row.
func (s *sight) sure() bool { return s.looks > 1 }

// gone says that a problem is over.
func (w *watch) gone(key string, now time.Time) bool {
	_, seen := w.seen[key]
	return w.whole && !seen && now.Sub(w.began) >= w.settle
}

// due says what a receiver is to be told: problems that are there and were not told, and those that were told and are
// over. In any span of r.Every a problem is told at most once, and to be over at most once; so a receiver gets at most
// two messages of an endpoint that fails and recovers all the time.
func due(now time.Time, r *Receiver, w *watch, told map[string]record) (opened []Problem, over []keyed) {
	for key, s := range w.seen {
		is, known := told[key]
		held := known && (is.open || now.Sub(is.told) < r.Every)
		if s.sure() && !held && r.wants(&s.Problem) {
			opened = append(opened, s.Problem)
		}
	}
	for key, is := range told {
		if is.open && w.gone(key, now) && now.Sub(is.over) >= r.Every {
			over = append(over, keyed{key: key, record: is})
		}
	}
	slices.SortFunc(opened, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(rank(a.Severity), rank(b.Severity)), a.Since.Compare(b.Since),
			strings.Compare(a.key(), b.key()))
	})
	slices.SortFunc(over, func(a, b keyed) int {
		return cmp.Or(cmp.Compare(rank(a.was.Severity), rank(b.was.Severity)), strings.Compare(a.key, b.key))
	})
	return opened, over
}

// rank orders severities, the worst first.
func rank(severity string) int {
	return slices.Index([]string{"critical", "warning", "notice"}, severity)
}
