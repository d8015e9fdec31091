package console

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/labstack/echo/v4"
)

// sureView is the question before an act on many things, and what came of it: a page, and with JavaScript a dialog. A
// link or a form that leads to it has data-dialog. The answer to its form is a sureView, too: with Progress.More the
// script sends its form again, until there is no more, or the reader stops.
type sureView struct {
	Title string
	// Which says what it is about, and Notes how it is bounded and what it means.
	Which []string
	Notes []string
	// Action is where the form is sent to, with Fields. Button has the number in it; empty: there is nothing to do, and
	// Nothing says why.
	Action   string
	Fields   []field
	Button   string
	Nothing  string
	Back     string
	Progress *progress
}

func (s sureView) title(*visit) string { return s.Title }

// field is a name with its value: of a form, where it is hidden, of the head of a request, or of settings.
type field struct{ Name, Value string }

// progress is how far an act on many things is.
type progress struct {
	Done, Of int    // Of is zero if it is not known
	Text     string // in words
	Failed   string // why it ended before all was done; empty: it did not
	More     bool   // the form goes on by itself
}

// sure shows the question.
func (v *visit) sure(s sureView) error { return v.render(http.StatusOK, "sure", s) }

// fieldsOf are the hidden fields of a form for these parameters.
func fieldsOf(q url.Values) (out []field) {
	for _, name := range slices.Sorted(maps.Keys(q)) {
		for _, x := range q[name] {
			out = append(out, field{Name: name, Value: x})
		}
	}
	return out
}

// atLeast is a number that may be of a part only.
func (v *visit) atLeast(n int, least bool) string {
	if least {
		return v.t("at.least", count(n))
	}
	return count(n)
}

const (
	// stepParts is how many requests to the API one step of an act makes, while the page shows how far it is: 500 dead
	// letters. actsAtOnce is how many one form makes at most without JavaScript.
	stepParts  = 5
	actsAtOnce = 20
)

// partsAtOnce is how many requests to the API the form that was sent makes at most.
func (v *visit) partsAtOnce() int {
	if v.part() {
		return stepParts
	}
	return actsAtOnce
}

// portion is what one request to the API has done: so many, the cursor to go on with (empty: it is the end), and why it
// ended in the middle (empty: it did not).
type portion struct {
	done   int
	next   string
	failed string
}

// whole says whether nothing is left of what was to be done.
func (p portion) whole() bool { return p.next == "" && p.failed == "" }

// inParts asks the API up to so many times, from a cursor on (empty: from the beginning), as long as it says that there
// is more. After the first part an error is in failed, with how many were done, and next is the part that failed: the
// same request goes on.
func inParts(cursor string, parts int, ask func(cursor string) (portion, error)) (all portion, err error) {
	all.next = cursor
	for range parts {
		one, err := ask(all.next)
		if err != nil && all.done == 0 {
			return all, err
		}
		all.done += one.done
		if err != nil {
			_, text := statusOf(err)
			all.failed = cmp.Or(text, err.Error())
			return all, nil
		}
		all.failed = one.failed
		if all.failed != "" {
			return all, nil
		}
		all.next = one.next
		if all.next == "" {
			return all, nil
		}
	}
	return all, nil
}

// progressOf says how far an act is, of which the form that was sent had done some before.
func (v *visit) progressOf(act string, all portion, of int) *progress {
	done := v.doneBefore() + all.done
	of = max(of, done)
	return &progress{
		Done: done, Of: of, Text: v.t("sure."+act+".done", count(done), count(of)),
		Failed: all.failed, More: all.next != "" && all.failed == "",
	}
}

// doneBefore is how many were done with the forms before this one.
func (v *visit) doneBefore() int {
	n, err := strconv.Atoi(v.FormValue("done"))
	if err != nil {
		return 0
	}
	return max(0, n)
}

// addRest adds the form that does what is left: it asks for the same as q.
func (v *visit) addRest(out *sureView, all portion, q url.Values) {
	q = maps.Clone(q)
	q.Set("all", "1")
	q.Set("expect", v.FormValue("expect"))
	q.Set("done", strconv.Itoa(out.Progress.Done))
	q.Set("back", out.Back)
	if all.next != "" {
		q.Set("cursor", all.next)
	}
	out.Fields = fieldsOf(q)
	out.Button = v.t("sure.go.on")
}

// ended is the error that says how many were done of what could not be done as a whole; nil: it could.
func (v *visit) ended(s portion) error {
	if s.failed == "" {
		return nil
	}
	return echo.NewHTTPError(http.StatusServiceUnavailable, v.t("acts.ended", count(s.done), s.failed))
}
