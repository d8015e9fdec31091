package route

import (
	"errors"
	"math/bits"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm/runtime"
)

// Costs are counted in units of about 2 ns. BenchmarkTheWorstWhens shows what the worst expressions take.
const (
	// The cost that all expressions of one tenant may have for one event grows with the event: whenShare for any event,
	// more for each of its parts and bytes, and at most whenBudget, which is about 1 ms. So an expression may loop over
	// everything that an event may hold, or, within a loop, over 60 tracks. Every event waits for the expressions of all
	// tenants before it is accepted: this is what one tenant can add to the latency of the others, 0.1 to 0.3 ms for the
	// usual event.
	whenBudget = 500_000
	whenShare  = 50_000
	forAPart   = 1_500
	forAByte   = 8
	// tenantBudgets is how many tenants' budgets all expressions together may use for one event. When they are used up,
	// every tenant still has whenShare, so that no tenant keeps another's simple expression from being evaluated.
	tenantBudgets = 4
	// maxElements limits what new lists may hold, all together.
	maxElements = 200_000
	// maxWhenData and maxWhenParts are the largest event that expressions can look into, in bytes and in what is in it: it
	// has to be decoded first.
	maxWhenData  = 256 << 10
	maxWhenParts = 5_000
)

// What an operation costs, in units.
const (
	perNode    = 8  // a name, a literal, an operator
	perTurn    = 45 // a turn of a loop, without the nodes in it
	perElement = 60 // an element of a list or object that is printed, added up, …
)

// The cost of going through a text, in sixteenths of a unit for each byte.
const (
	perCompared  = 1
	perCopied    = 32
	perSearched  = 12
	perMapped    = 96 // to upper or lower case
	perParsed    = 32 // as a number, a duration, a date
	perFormatted = 64
	perMatched   = 64 // for each instruction of a pattern
	perPiece     = 160
)

var errTooCostly = errors.New("too costly for this event")

// The functions that guard puts into an expression. Nobody can call them by name: a name has no "#".
const (
	turnFunction    = "#turn"    // (event, cost): pays for a turn of a loop
	payFunction     = "#pay"     // (event, x, rate): pays for the length of x, and returns it
	weighFunction   = "#weigh"   // (event, x): pays for all that is in x, and returns it
	addFunction     = "#add"     // (event, x, y): x + y
	equalFunction   = "#equal"   // (event, x, y): x == y
	orderFunction   = "#order"   // (event, operator, missing, x, y): x < y and the like
	inFunction      = "#in"      // (event, x, list): x in list
	withinFunction  = "#within"  // (x, from, to): x in from..to
	trimFunction    = "#trim"    // (event, text, cutset): trim(text, cutset)
	splitFunction   = "#split"   // (event, text, separator, most): split(text, separator, most)
	presentFunction = "#present" // (time of a track): that time, an error if it is missing
	textFunction    = "#text"    // (x): the digits of a number, and anything else as it is
)

var guardFunctions = []expr.Option{
	expr.Function(turnFunction, func(args ...any) (any, error) {
		return true, args[0].(*view).pay(args[1].(int))
	}, new(func(*view, int) bool)),
	expr.Function(payFunction, func(args ...any) (any, error) {
		return args[1], args[0].(*view).pay(1 + length(args[1])*args[2].(int)/16)
	}, new(func(*view, any, int) any)),
	expr.Function(weighFunction, func(args ...any) (any, error) {
		return args[1], args[0].(*view).weigh(args[1], 0)
	}, new(func(*view, any) any)),
	expr.Function(addFunction, func(args ...any) (any, error) {
		if _, text := args[1].(string); text {
			if err := args[0].(*view).pay((length(args[1]) + length(args[2])) * perCopied / 16); err != nil {
				return nil, err
			}
		}
		return runtime.Add(args[1], args[2]), nil
	}, new(func(*view, any, any) any)),
	expr.Function(equalFunction, func(args ...any) (any, error) {
		x, _ := timeOf(args[1])
		y, _ := timeOf(args[2])
		if err := args[0].(*view).payPair(x, y); err != nil {
			return nil, err
		}
		return runtime.Equal(x, y), nil
	}, new(func(*view, any, any) bool)),
	expr.Function(orderFunction, func(args ...any) (any, error) {
		return args[0].(*view).order(args[1].(string), args[2].(bool), args[3], args[4])
	}, new(func(*view, string, bool, any, any) bool)),
	expr.Function(inFunction, func(args ...any) (any, error) {
		if err := args[0].(*view).payIn(args[1], args[2]); err != nil {
			return nil, err
		}
		return runtime.In(args[1], args[2]), nil
	}, new(func(*view, any, any) bool)),
	expr.Function(withinFunction, func(args ...any) (any, error) {
		return within(args[0], runtime.ToInt(args[1]), runtime.ToInt(args[2])), nil
	}, new(func(any, any, any) bool)),
	expr.Function(trimFunction, func(args ...any) (any, error) {
		text, cutset := args[1].(string), args[2].(string)
		if err := args[0].(*view).pay((1 + len(text)) * (1 + len(cutset)) * perSearched / 16); err != nil {
			return nil, err
		}
		return strings.Trim(text, cutset), nil
	}, new(func(*view, any, any) string)),
	expr.Function(splitFunction, func(args ...any) (any, error) {
		text, separator := args[1].(string), args[2].(string)
		if err := args[0].(*view).paySplit(text, separator); err != nil {
			return nil, err
		}
		return strings.SplitN(text, separator, runtime.ToInt(args[3])), nil
	}, new(func(*view, any, any, any) []string)),
	expr.Function(presentFunction, func(args ...any) (any, error) { return present(args[0]) }, new(func(any) time.Time)),
	expr.Function(textFunction, func(args ...any) (any, error) { return digits(args[0]), nil }, new(func(any) any)),
}

// pay subtracts cost from what is left of the budget.
func (v *view) pay(cost int) error {
	v.left -= cost
	if v.left < 0 {
		return errTooCostly
	}
	return nil
}

// length returns the length of a text or list; 0 for anything else.
func length(x any) int {
	switch x := x.(type) {
	case nil:
		return 0
	case string:
		return len(x)
	case []any:
		return len(x)
	}
	if v := reflect.ValueOf(x); v.Kind() == reflect.Slice {
		return v.Len()
	}
	return 0
}

// weigh pays for going through all of x, to print it, to sort its numbers or the like. Each level copies the results of
// the levels below, so depth costs as well.
func (v *view) weigh(x any, depth int) error {
	if err := v.pay(perElement + depth); err != nil {
		return err
	}

	switch x := x.(type) {
	case string:
		return v.pay(len(x) * perParsed / 16)
	case []any:
		for _, element := range x {
			if err := v.weigh(element, depth+1); err != nil {
				return err
			}
		}
	case map[string]any:
		// Printing sorts the keys.
		if err := v.pay(len(x) * bits.Len(uint(len(x))) * perElement); err != nil {
			return err
		}
		for key, element := range x {
			if err := v.pay(len(key) * perParsed / 16); err != nil {
				return err
			}
			if err := v.weigh(element, depth+1); err != nil {
				return err
			}
		}
	case *track:
		return v.pay(3*perElement + (len(x.Time)+len(x.Context)+len(x.Status))*perParsed/16)
	case []*track:
		for i := range x {
			if err := v.weigh(x[i], depth+1); err != nil {
				return err
			}
		}
	case *view:
		if err := v.weigh(x.Tracks, depth+1); err != nil {
			return err
		}
		return v.weigh(x.Data, depth+1)
	default:
		return v.pay(length(x) * perElement)
	}
	return nil
}

// payPair pays for a comparison of two values: for the length that both have.
func (v *view) payPair(x, y any) error {
	cost := perNode

	// Two lists or objects of different lengths are compared by their lengths alone.
	switch x := x.(type) {
	case string:
		cost += min(len(x), length(y)) * perCompared / 16
	case []any:
		list, ok := y.([]any)
		if !ok {
			return v.pay(cost + perElement*min(len(x), length(y)))
		}
		if len(list) != len(x) {
			break
		}
		for i := range x {
			if err := v.payPair(x[i], list[i]); err != nil {
				return err
			}
		}
	case map[string]any:
		object, ok := y.(map[string]any)
		if !ok || len(object) != len(x) {
			break
		}
		for key := range x {
			if err := v.pay(perElement + len(key)); err != nil {
				return err
			}
			if err := v.payPair(x[key], object[key]); err != nil {
				return err
			}
		}
	case *track:
		return v.weigh(x, 0)
	case []*track:
		for i := range min(len(x), length(y)) {
			if err := v.weigh(x[i], 0); err != nil {
				return err
			}
		}
	default:
		cost += perElement * min(length(x), length(y))
	}
	return v.pay(cost)
}

// payIn pays for a search of x in a list or among the keys of an object.
func (v *view) payIn(x, in any) error {
	list, ok := in.([]any)
	if !ok {
		return v.pay(perNode + length(x)*perCompared + perElement*length(in))
	}
	for _, element := range list {
		if err := v.payPair(element, x); err != nil {
			return err
		}
	}
	return v.pay(perNode * (1 + len(list)))
}

// paySplit pays for a search of the separator, and for the pieces.
func (v *view) paySplit(text, separator string) error {
	if err := v.pay((1 + len(text) + len(separator)) * perSearched / 16); err != nil {
		return err
	}
	return v.pay((1 + strings.Count(text, separator)) * perPiece / 16)
}

// order compares x with y. If one of them is the time of a track that has none, no comparison holds.
func (v *view) order(operator string, missing bool, x, y any) (bool, error) {
	if err := v.pay(perNode + min(length(x), length(y))*perCompared/16); err != nil {
		return false, err
	}
	x, noX := timeOf(x)
	y, noY := timeOf(y)
	if noX || noY || missing && (x == nil || y == nil) {
		return false, nil
	}

	switch operator {
	case "<":
		return runtime.Less(x, y), nil
	case "<=":
		return runtime.LessOrEqual(x, y), nil
	case ">":
		return runtime.More(x, y), nil
	default:
		return runtime.MoreOrEqual(x, y), nil
	}
}

// timeOf returns the time that x points to, and any other value as it is. The time of a track may be missing.
func timeOf(x any) (value any, missing bool) {
	at, ok := x.(*time.Time)
	switch {
	case !ok:
		return x, false
	case at == nil:
		return nil, true
	}
	return *at, false
}

// present returns the time of a track, and an error if the track has none.
func present(x any) (time.Time, error) {
	value, _ := timeOf(x)
	at, ok := value.(time.Time)
	if !ok {
		return at, errors.New("the track has no time")
	}
	return at, nil
}

// within says whether x is a whole number from … to.
func within(x any, from, to int) bool {
	n := 0
	switch v := reflect.ValueOf(x); {
	case v.CanInt():
		n = int(v.Int())
	case v.CanUint():
		n = int(v.Uint())
	case v.CanFloat():
		n = int(v.Float())
		if float64(n) != v.Float() {
			return false
		}
	default:
		return false
	}
	return from <= n && n <= to
}

// digits returns a number as text, and any other value as it is.
func digits(value any) any {
	switch value := value.(type) {
	case int:
		return strconv.Itoa(value)
	case float64:
		return strconv.FormatFloat(value, 'f', -1, 64)
	}
	return value
}
