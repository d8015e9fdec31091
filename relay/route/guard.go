package route

import (
	"errors"
	"reflect"
	"slices"
	"strconv"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
)

// An expression is written by a tenant and runs in the relay of all tenants, so it must not cost much, whatever it is and
// whatever the event. expr itself only counts what new arrays hold. Therefore
//
//   - only builtins are there that are pure and cheap, and a range only where it builds nothing large for long;
//   - the text or list that +, string, upper, lower or split made is charged, and the list that in searches, and so is
//     every turn of a loop, which is dearer the larger the event is, because it may look through all of it;
//   - what is charged is limited to budget in one evaluation, and so is what expr counts.
//
// All of this is deterministic: an expression that is too costly for an event is so every time and on every machine.
const (
	// budget is enough for a loop over 2,500 tracks, or a loop within a loop over 150, or a text of 1 MB.
	budget = 1_000_000
	// bytesPerTurn is how much event.data a turn of a loop can search for the price of one.
	bytesPerTurn = 1024
)

var errTooCostly = errors.New("too costly for this event")

// builtins are the functions of expr that a when can use. Not among them: now (an event must be routed alike at any time),
// keys and values (their order is random), and those which build large things or work on what they have built (map,
// reduce, repeat, replace, join, sort, toJSON, …).
var builtins = []string{
	"all", "any", "none", "one", "filter", "find", "findIndex", "findLast", "findLastIndex", "count", "sum",
	"len", "first", "last", "get", "take", "min", "max", "mean", "median",
	"type", "int", "float", "string", "abs", "ceil", "floor", "round",
	"upper", "lower", "split", "trim", "trimPrefix", "trimSuffix", "indexOf", "lastIndexOf", "hasPrefix", "hasSuffix",
	"date", "duration", "timezone",
}

// The functions that guard puts into an expression. Nobody can call them by name: a name has no "#".
const (
	turnFunction   = "#turn"   // (event): pays for a turn of a loop
	chargeFunction = "#charge" // (event, x): pays for x, and returns it
	textFunction   = "#text"   // (x): the digits of a number, and anything else as it is
)

var guardFunctions = []expr.Option{
	expr.Function(turnFunction, func(args ...any) (any, error) {
		v := args[0].(*view)
		return true, v.pay(v.turn)
	}, new(func(*view) bool)),
	expr.Function(chargeFunction, func(args ...any) (any, error) {
		cost := 0
		if v := reflect.ValueOf(args[1]); v.Kind() == reflect.String || v.Kind() == reflect.Slice {
			cost = v.Len()
		}
		return args[1], args[0].(*view).pay(cost)
	}, new(func(*view, any) any)),
	expr.Function(textFunction, func(args ...any) (any, error) { return digits(args[0]), nil }, new(func(any) any)),
}

// pay takes cost from what is left of the budget.
func (v *view) pay(cost int) error {
	if v.left -= cost; v.left < 0 {
		return errTooCostly
	}
	return nil
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

// guard rewrites an expression so that its cost is counted, and finds out what of the event it needs.
// expr shows it every node after those below it, once their types are known.
type guard struct {
	events int // mentions of event that are not one of its fields by name
	data   bool
	faults []fault
}

// fault is what expr allows and we do not.
type fault struct {
	node ast.Node
	text string
}

// usesData says whether the expression may look at event.data.
func (g *guard) usesData() bool { return g.data || g.events > 0 }

// mistake returns the first fault, or nil.
func (g *guard) mistake(source string) error {
	if len(g.faults) == 0 {
		return nil
	}
	err := &file.Error{Location: g.faults[0].node.Location(), Message: g.faults[0].text}
	return err.Bind(file.NewSource(source))
}

// Visit implements ast.Visitor.
func (g *guard) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		if n.Value == "event" || n.Value == "$env" {
			g.events++
		}
	case *ast.MemberNode:
		name, constant := n.Property.(*ast.StringNode)
		if of, ok := n.Node.(*ast.IdentifierNode); ok && of.Value == "event" && constant {
			g.events--
			g.data = g.data || name.Value == "data"
		}
	case *ast.BuiltinNode:
		if !slices.Contains(builtins, n.Name) {
			g.faults = append(g.faults, fault{n, n.Name + " is not available here"})
		}
		switch n.Name {
		case "string", "upper", "lower", "split":
			charge(node)
		}
	case *ast.PredicateNode:
		turn := call(turnFunction, theEvent())
		turn.SetLocation(n.Node.Location())
		n.Node = &ast.SequenceNode{Nodes: []ast.Node{turn, n.Node}}
	case *ast.BinaryNode:
		g.visitOperator(node, n)
	}
}

func (g *guard) visitOperator(node *ast.Node, n *ast.BinaryNode) {
	switch n.Operator {
	case "..":
		g.faults = append(g.faults, fault{n, "a range can stand after in only"})
	case "+":
		if maybeText(n.Left) || maybeText(n.Right) {
			charge(node)
		}
	case "==", "!=":
		if literal(n.Right) {
			asText(&n.Left)
		} else if literal(n.Left) {
			asText(&n.Right)
		}
	case "contains", "startsWith", "endsWith", "matches":
		asText(&n.Left)
	case "in":
		g.faults = slices.DeleteFunc(g.faults, func(f fault) bool { return f.node == n.Right })
		switch list := n.Right.(type) {
		case *ast.ArrayNode:
			if !slices.ContainsFunc(list.Nodes, func(item ast.Node) bool { return !literal(item) }) {
				asText(&n.Left)
			}
		default:
			if !isRange(n.Right) { // expr counts those
				charge(&n.Right)
			}
		}
	}
}

func isRange(node ast.Node) bool {
	n, ok := node.(*ast.BinaryNode)
	return ok && n.Operator == ".."
}

// literal says whether node is a literal text.
func literal(node ast.Node) bool {
	_, ok := node.(*ast.StringNode)
	return ok
}

// maybeText says whether node can come to a text.
func maybeText(node ast.Node) bool {
	kind := node.Type().Kind()
	return kind == reflect.String || kind == reflect.Interface
}

// asText makes sure that node is not a number where it could be one.
func asText(node *ast.Node) {
	if (*node).Type().Kind() == reflect.Interface {
		ast.Patch(node, call(textFunction, *node))
	}
}

// charge makes sure that what node makes is paid for.
func charge(node *ast.Node) { ast.Patch(node, call(chargeFunction, theEvent(), *node)) }

func theEvent() ast.Node { return &ast.IdentifierNode{Value: "event"} }

func call(function string, arguments ...ast.Node) ast.Node {
	return &ast.CallNode{Callee: &ast.IdentifierNode{Value: function}, Arguments: arguments}
}
