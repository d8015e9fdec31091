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
	_ "time/tzdata" // timezone("Asia/Shanghai") works on a machine without time zones

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"
)

// maxWhenBytes limits the length of an expression, maxWhenNodes its parts (names, literals, operators, calls).
const (
	maxWhenBytes = 4096
	maxWhenNodes = 500
)

// condition is a compiled when. It is safe for concurrent use; what an evaluation needs is in a subject.
type condition struct {
	program    *vm.Program
	cost       int // what it costs without its loops, and what depends on the event
	usesData   bool
	usesTracks bool
	usesTimes  bool
}

// CheckWhen says whether source compiles as the when of a route: nil, or an error with line, column and what is wrong.
//
// The language is that of expr-lang (https://expr-lang.org/docs/language-definition). An expression must come to a
// bool, and sees one name, event, with
//
//	.type .waybill_code .cp_code .status   texts, empty where absent
//	.tracks                                a list of .time, .context and .status, all texts, and .at: the time as a time,
//	                                       in China's zone, nil where .time is not one
//	.data                                  the item as JSON: anything, nil where absent
//	.received_at                           a time, in UTC
//
// In .data a whole number is an int, any other a float, so that event.data.weight > 2 holds for 3 and for 2.5; a whole
// number that needs more than 64 bits is the text of its digits. Where a text is asked for, a number is taken by its
// digits: by == and != beside a literal text, by in before a list of literal texts, and by contains, startsWith,
// endsWith and matches. So event.data.no == "123" holds for 123 and for "123". The other way, say
// float(event.data.weight) > 2.
//
// The .at of a track that has none is neither before nor after any time: < and the like are false. What is calculated
// with it fails.
//
// Of the builtin functions there are those which give the same answer for the same event every time, and whose cost is
// bounded (see builtins). A range like 1..9 may stand after in only, a regular expression after matches and the name of
// a time zone as a literal text only.
func CheckWhen(source string) error {
	_, err := newCondition(source)
	return err
}

// newCondition compiles a when. A panic of expr is an error of the expression.
func newCondition(source string) (_ *condition, err error) {
	if len(source) > maxWhenBytes {
		return nil, fmt.Errorf("the expression has %d bytes, at most %d are allowed", len(source), maxWhenBytes)
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the expression cannot be compiled: %s", firstLine(fmt.Sprint(r)))
		}
	}()
	if err := inspect(source); err != nil {
		return nil, plain(err)
	}

	// As written first: where guard steps in, types get lost.
	language := []expr.Option{expr.Env(env{}), expr.AsBool(), expr.WarnOnAny(), expr.MaxNodes(maxWhenNodes)}
	if _, err := expr.Compile(source, language...); err != nil {
		return nil, plain(err)
	}

	// Once more, so that its cost is counted.
	g := new(guard)
	program, err := expr.Compile(source, slices.Concat(language, guardFunctions, []expr.Option{expr.Patch(g)})...)
	if err == nil {
		err = g.mistake(source)
	}
	if err != nil {
		return nil, plain(err)
	}
	return &condition{
		program:    program,
		cost:       g.cost,
		usesData:   g.usesData(),
		usesTracks: g.usesTracks(),
		usesTimes:  g.usesTimes(),
	}, nil
}

var ourWords = strings.NewReplacer("type route.view", "event", "*route.view", "event", "route.view", "event", "\n", " ",
	"but got unknown", "but got a value of any type (compare it, with == true for example)")

// plain puts an error of expr into one line, without the excerpt of the source that it brings. Where expr itself
// panicked while it compiled, its stack is left out.
func plain(err error) error {
	var located *file.Error
	if !errors.As(err, &located) {
		if strings.Contains(err.Error(), "\n") {
			return fmt.Errorf("the expression cannot be compiled: %s", firstLine(err.Error()))
		}
		return errors.New(ourWords.Replace(err.Error()))
	}
	return fmt.Errorf("%d:%d: %s", located.Line, located.Column+1, ourWords.Replace(shorten(located.Message)))
}

func firstLine(text string) string {
	text, _, _ = strings.Cut(text, "\n")
	return ourWords.Replace(shorten(text))
}

// shorten cuts a message that quotes much of the event or of the expression.
func shorten(text string) string {
	const most = 400
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// holds evaluates the condition for the event of s, at the cost of a tenant.
func (c *condition) holds(s *subject, tenant string) (bool, error) {
	if err := s.prepare(c); err != nil {
		return false, err
	}
	allowed := s.allow(tenant)
	s.view.left = allowed
	s.machine.MemoryBudget = maxElements

	err := s.view.pay(c.cost)
	var result any
	if err == nil {
		result, err = s.machine.Run(c.program, &s.env)
	}
	s.charge(allowed - s.view.left)
	if err != nil {
		return false, newWhenError(err)
	}
	return result == true, nil
}

// whenError is a when that failed to evaluate. Its text says where, and what only if that cannot quote the event:
// errors are logged, and what is in an event must not be. detail says everything.
type whenError struct {
	text   string
	detail string
}

// newWhenError says of an error of expr what may be logged, and what may be shown.
func newWhenError(err error) error {
	e := &whenError{text: "cannot be evaluated for this event", detail: errTooCostly.Error()}
	var located *file.Error
	costly := errors.Is(err, errTooCostly) || errors.As(err, &located) && located.Message == "memory budget exceeded"
	if costly {
		e.text = errTooCostly.Error()
	} else {
		e.detail = plain(err).Error()
	}
	if errors.As(err, &located) {
		e.text = fmt.Sprintf("%d:%d: %s", located.Line, located.Column+1, e.text)
		if costly {
			e.detail = e.text
		}
	}
	return e
}

func (e *whenError) Error() string { return e.text }

const notJSON = "event.data is not JSON"

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
	return nil, &whenError{text: notJSON, detail: notJSON}
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

// number gives an int where the number is whole and fits, a float64 where it is a fraction, and else its text.
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
