package route

import (
	"fmt"
	"reflect"
	"time"

	"github.com/expr-lang/expr/ast"
)

// builtins are the functions of expr that a when can use. It cannot use now (an event must be routed alike at any
// time), keys and values (their order is random), and functions that build large things, or work on what they have
// built (map, reduce, repeat, replace, join, sort, toJSON, …).
var builtins = []string{
	"all", "any", "none", "one", "filter", "find", "findIndex", "findLast", "findLastIndex", "count", "sum",
	"len", "first", "last", "get", "take", "min", "max", "mean", "median",
	"type", "int", "float", "string", "abs", "ceil", "floor", "round",
	"upper", "lower", "split", "trim", "trimPrefix", "trimSuffix", "indexOf", "lastIndexOf", "hasPrefix", "hasSuffix",
	"date", "duration", "timezone",
}

// rates are the rates at which builtins of texts pay for their arguments, in order.
var rates = map[string][]int{
	"upper":       {perMapped},
	"lower":       {perMapped},
	"trim":        {perSearched}, // with a second argument it is a function of our own
	"indexOf":     {perSearched, perSearched},
	"lastIndexOf": {perSearched, perSearched},
	"hasPrefix":   {0, perCompared},
	"hasSuffix":   {0, perCompared},
	"trimPrefix":  {0, perCompared},
	"trimSuffix":  {0, perCompared},
	"int":         {perParsed},
	"float":       {perParsed},
	"duration":    {perParsed},
}

// visitBuiltin makes an expression pay for a builtin. A builtin without a case here and without rates takes the same
// time for all arguments, or is a loop, which pays for each turn.
func (g *guard) visitBuiltin(node *ast.Node, n *ast.BuiltinNode) {
	args := n.Arguments
	if len(args) == 0 {
		return
	}

	switch n.Name {
	case "string", "min", "max", "mean", "median":
		weighAll(args)
		return
	case "sum", "count":
		if len(args) == 1 { // without a predicate there are no turns
			weighAll(args)
		}
		return
	case "trim":
		if len(args) == 2 {
			patch(node, trimFunction, theEvent(), args[0], args[1])
			return
		}
	case "split":
		most := whole(-1)
		if len(args) == 3 {
			most = args[2]
		}
		patch(node, splitFunction, theEvent(), args[0], args[1], most)
		return
	case "get":
		g.times = true
		pay(&args[len(args)-1], perCompared)
		return
	case "timezone":
		g.visitZone(node, args[0])
		return
	case "date":
		g.visitDate(n)
		return
	}

	payEach(args, rates[n.Name])
}

// visitDate makes an expression pay for reading a date. A zone that is named last is put first.
func (g *guard) visitDate(n *ast.BuiltinNode) {
	rest := n.Arguments
	if isZone(rest[0]) {
		rest = rest[1:]
	}
	if len(rest) == 3 { // text, layout, name of a zone
		g.visitZone(&rest[2], rest[2])
		n.Arguments = []ast.Node{rest[2], rest[0], rest[1]}
	}
	for i := range n.Arguments {
		if !isZone(n.Arguments[i]) {
			pay(&n.Arguments[i], perParsed)
		}
	}
}

// visitZone loads a time zone while the expression is compiled: it is a file, and there is no I/O when events come.
func (g *guard) visitZone(node *ast.Node, name ast.Node) {
	text, constant := name.(*ast.StringNode)
	if !constant {
		g.refuse(*node, "the name of a time zone must be a literal text")
		return
	}
	zone, err := time.LoadLocation(text.Value)
	if err != nil {
		g.refuse(*node, fmt.Sprintf("there is no time zone %.60q", text.Value))
		return
	}
	constantZone := &ast.ConstantNode{Value: zone}
	constantZone.SetType(reflect.TypeFor[*time.Location]())
	ast.Patch(node, constantZone)
}

func isZone(node ast.Node) bool { return node.Type() == reflect.TypeFor[*time.Location]() }

// payEach makes an expression pay for arguments, each at its rate. A rate that is 0 or missing costs nothing.
func payEach(args []ast.Node, rates []int) {
	for i, rate := range rates[:min(len(rates), len(args))] {
		if rate > 0 {
			pay(&args[i], rate)
		}
	}
}

// weighAll weighs each of args.
func weighAll(args []ast.Node) {
	for i := range args {
		weigh(&args[i])
	}
}

// builtinCost is the cost of a builtin, without the part that depends on its arguments.
func builtinCost(n *ast.BuiltinNode) int {
	switch n.Name {
	case "date":
		if len(n.Arguments) == 1 { // tries seven layouts
			return 400
		}
		return 100
	case "get": // looks for methods and fields by their names
		return 100
	case "float", "duration":
		return 60
	case "string", "first", "last":
		return 30
	case "len", "type", "int", "abs", "ceil", "floor", "round", "take", "min", "max", "mean", "median":
		return 10
	}
	return 20 // a loop without its turns, or a function of texts
}
