package route

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // timezone("Asia/Shanghai") works on a machine without time zones

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"

	"kuairelay/relay/event"
)

// maxWhenBytes limits the length of an expression, maxWhenNodes its parts (names, literals, operators, calls).
const (
	maxWhenBytes = 4096
	maxWhenNodes = 500
)

// condition is a compiled when. It is safe for concurrent use; what an evaluation needs is in a subject.
type condition struct {
	program  *vm.Program
	usesData bool
}

// CheckWhen says whether source compiles as the when of a route: nil, or an error with line, column and what is wrong.
//
// The language is that of expr-lang (https://expr-lang.org/docs/language-definition). An expression must come to a bool,
// and sees one name, event, with
//
//	.type .waybill_code .cp_code .status   texts, empty where absent
//	.tracks                                a list of .time, .context and .status, all texts
//	.data                                  the item as JSON: anything, nil where absent
//	.received_at                           a time, in UTC
//
// In .data a whole number is an int, any other a float, so that event.data.weight > 2 holds for 3 and for 2.5; a whole number
// that needs more than 64 bits is the text of its digits. Where a text is asked for, a number is taken by its digits: by
// == and != beside a literal text, by in before a list of literal texts, and by contains, startsWith, endsWith and matches.
// So event.data.no == "123" holds for 123 and for "123". The other way, say float(event.data.weight) > 2.
//
// Of the builtin functions there are those which give the same answer for the same event every time, and whose cost is
// bounded (see builtins). A range like 1..9 may stand after in only.
func CheckWhen(source string) error {
	_, err := newCondition(source)
	return err
}

func newCondition(source string) (*condition, error) {
	if len(source) > maxWhenBytes {
		return nil, fmt.Errorf("the expression has %d bytes, at most %d are allowed", len(source), maxWhenBytes)
	}
	language := []expr.Option{expr.Env(env{}), expr.AsBool(), expr.WarnOnAny(), expr.MaxNodes(maxWhenNodes)}
	// As written first: where guard steps in, types get lost.
	if _, err := expr.Compile(source, language...); err != nil {
		return nil, plain(err)
	}
	g := new(guard)
	program, err := expr.Compile(source, slices.Concat(language, guardFunctions, []expr.Option{expr.Patch(g)})...)
	if err == nil {
		err = g.mistake(source)
	}
	if err != nil {
		return nil, plain(err)
	}
	return &condition{program: program, usesData: g.usesData()}, nil
}

var ourWords = strings.NewReplacer("type route.view", "event", "*route.view", "event", "route.view", "event", "\n", " ",
	"but got unknown", "but got a value of any type (compare it, with == true for example)")

// plain puts an error of expr into one line, without the excerpt of the source that it brings.
func plain(err error) error {
	var located *file.Error
	if !errors.As(err, &located) {
		return errors.New(ourWords.Replace(err.Error()))
	}
	return fmt.Errorf("%d:%d: %s", located.Line, located.Column+1, ourWords.Replace(located.Message))
}

// holds evaluates the condition for the event of s.
func (c *condition) holds(s *subject) (bool, error) {
	if err := s.prepare(c.usesData); err != nil {
		return false, err
	}
	s.view.left, s.machine.MemoryBudget = budget, budget
	result, err := s.machine.Run(c.program, &s.env)
	if err != nil {
		return false, newWhenError(err)
	}
	return result == true, nil
}

// whenError is a when that failed to evaluate. Its text says where, and what only if that cannot quote the event: errors
// are logged, and what is in an event must not be. detail says everything.
type whenError struct {
	text   string
	detail string
}

func newWhenError(err error) error {
	e := &whenError{text: "cannot be evaluated for this event", detail: plain(err).Error()}
	var located *file.Error
	if errors.As(err, &located) {
		if errors.Is(err, errTooCostly) || located.Message == "memory budget exceeded" {
			e.text = errTooCostly.Error()
		}
		e.text = fmt.Sprintf("%d:%d: %s", located.Line, located.Column+1, e.text)
	}
	return e
}

func (e *whenError) Error() string { return e.text }

// subject is the event that conditions are asked about, made ready for them once and only as far as they need it.
type subject struct {
	event    *event.Event
	prepared bool
	decoded  bool
	err      error // of decoding
	view     view
	env      env
	machine  vm.VM
}

// env is what an expression sees; its names are those of the config.
type env struct {
	Event *view `expr:"event"`
}

type view struct {
	Type        string        `expr:"type"`
	WaybillCode string        `expr:"waybill_code"`
	CPCode      string        `expr:"cp_code"`
	Status      string        `expr:"status"`
	Tracks      []event.Track `expr:"tracks"`
	Data        any           `expr:"data"`
	ReceivedAt  time.Time     `expr:"received_at"`

	turn int // what a turn of a loop costs
	left int // what is left of the budget
}

func (s *subject) prepare(data bool) error {
	if ev := s.event; !s.prepared {
		s.prepared = true
		s.env.Event = &s.view
		s.view = view{
			Type: ev.Type, WaybillCode: ev.WaybillCode, CPCode: ev.CPCode, Status: ev.Status, Tracks: ev.Tracks,
			ReceivedAt: ev.ReceivedAt.UTC(), turn: 1 + len(ev.Data)/bytesPerTurn,
		}
	}
	if data && !s.decoded {
		s.decoded = true
		s.view.Data, s.err = decode(s.event.Data)
	}
	if data {
		return s.err
	}
	return nil
}

// forget lets go of the event.
func (s *subject) forget() {
	s.event, s.prepared, s.decoded, s.err, s.view = nil, false, false, nil, view{}
	clear(s.machine.Stack[:cap(s.machine.Stack)])
	clear(s.machine.Variables)
}

// decode reads JSON as expressions see it.
func decode(data []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var value any
	err := decoder.Decode(&value)
	if err == nil {
		if _, err = decoder.Token(); errors.Is(err, io.EOF) {
			return plainNumbers(value), nil
		}
	}
	return nil, &whenError{"event.data is not JSON", "event.data is not JSON"}
}

// plainNumbers replaces the numbers in value by what expressions can compare: int, float64, or text.
func plainNumbers(value any) any {
	switch value := value.(type) {
	case json.Number:
		return number(string(value))
	case []any:
		for i := range value {
			value[i] = plainNumbers(value[i])
		}
	case map[string]any:
		for key := range value {
			value[key] = plainNumbers(value[key])
		}
	}
	return value
}

func number(text string) any {
	if whole, err := strconv.Atoi(text); err == nil {
		return whole
	}
	if !strings.ContainsAny(text, ".eE") {
		return text
	}
	fraction, err := strconv.ParseFloat(text, 64)
	if err != nil { // beyond the range of float64
		return text
	}
	return fraction
}
