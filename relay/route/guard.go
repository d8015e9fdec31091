package route

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
)

// An expression is written by a tenant and runs in the relay of all tenants, so it must not cost much, whatever it is and
// whatever the event. expr itself only counts what new arrays hold. Therefore
//
//   - only those builtins can be used that are pure, and whose cost can be told from their arguments;
//   - everything whose cost depends on the event is paid for before it is done (see cost.go): guard puts the payment into the
//     expression, as a call around an argument, or in place of the operation;
//   - what is paid is limited for an expression, for a tenant and for an event (see subject.allow);
//   - what would be slow to compile is refused beforehand (see inspect).
//
// All of this is deterministic: an expression that is too costly for an event is so every time and on every machine.

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

// guard rewrites an expression so that its cost is counted, and finds out what of the event it needs.
// expr shows it every node after those below it, once their types are known.
type guard struct {
	events int // mentions of event that are not one of its fields by name
	data   bool
	tracks bool
	times  bool
	cost   int // of all nodes seen so far, each once
	faults []fault
}

// fault is what expr allows and we do not.
type fault struct {
	node ast.Node
	text string
}

// usesData says whether the expression may look at event.data, usesTracks whether it may look at event.tracks.
func (g *guard) usesData() bool   { return g.data || g.events > 0 }
func (g *guard) usesTracks() bool { return g.tracks || g.events > 0 }

// usesTimes says whether the expression may look at the .at of a track.
func (g *guard) usesTimes() bool { return g.times }

// mistake returns the first fault, or nil.
func (g *guard) mistake(source string) error {
	if len(g.faults) == 0 {
		return nil
	}
	err := &file.Error{Location: g.faults[0].node.Location(), Message: g.faults[0].text}
	return err.Bind(file.NewSource(source))
}

func (g *guard) refuse(node ast.Node, text string) {
	g.faults = append(g.faults, fault{node: node, text: text})
}

// Visit implements ast.Visitor.
func (g *guard) Visit(node *ast.Node) {
	g.cost += nodeCost(*node)
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		if n.Value == "event" || n.Value == "$env" {
			g.events++
		}
	case *ast.MemberNode:
		g.visitMember(n)
	case *ast.BuiltinNode:
		if !slices.Contains(builtins, n.Name) {
			g.refuse(n, n.Name+" is not available here")
		}
		g.visitBuiltin(node, n)
	case *ast.CallNode:
		// A method of a time, of which Format is the one that takes a text.
		for i := range n.Arguments {
			if isTrackTime(n.Arguments[i]) {
				patch(&n.Arguments[i], presentFunction, n.Arguments[i])
			}
			pay(&n.Arguments[i], perFormatted)
		}
	case *ast.PredicateNode:
		turn := call(turnFunction, theEvent(), whole(perTurn+costOf(n.Node)))
		turn.SetLocation(n.Node.Location())
		n.Node = &ast.SequenceNode{Nodes: []ast.Node{turn, n.Node}}
	case *ast.BinaryNode:
		g.visitOperator(node, n)
	}
}

func (g *guard) visitMember(n *ast.MemberNode) {
	name, constant := n.Property.(*ast.StringNode)
	if of, ok := n.Node.(*ast.IdentifierNode); ok && of.Value == "event" && constant {
		g.events--
		g.data = g.data || name.Value == "data"
		g.tracks = g.tracks || name.Value == "tracks"
	}
	if !constant {
		pay(&n.Property, perCompared)
	}
	g.times = g.times || !constant || name.Value == "at"
}

// visitBuiltin has a builtin paid for. Those that are not named here take the same time whatever they are given, or are
// loops, which pay by the turn.
func (g *guard) visitBuiltin(node *ast.Node, n *ast.BuiltinNode) {
	args := n.Arguments
	if len(args) == 0 {
		return
	}
	switch n.Name {
	case "string", "min", "max", "mean", "median":
		for i := range args {
			weigh(&args[i])
		}
	case "sum", "count":
		if len(args) == 1 { // without a predicate there are no turns
			weigh(&args[0])
		}
	case "upper", "lower":
		pay(&args[0], perMapped)
	case "trim":
		if len(args) == 2 {
			patch(node, trimFunction, theEvent(), args[0], args[1])
		} else {
			pay(&args[0], perSearched)
		}
	case "split":
		most := whole(-1)
		if len(args) == 3 {
			most = args[2]
		}
		patch(node, splitFunction, theEvent(), args[0], args[1], most)
	case "indexOf", "lastIndexOf":
		for i := range args {
			pay(&args[i], perSearched)
		}
	case "get":
		g.times = true
		pay(&args[len(args)-1], perCompared)
	case "hasPrefix", "hasSuffix", "trimPrefix", "trimSuffix":
		for i := range args[1:] {
			pay(&args[i+1], perCompared)
		}
	case "int", "float", "duration":
		pay(&args[0], perParsed)
	case "timezone":
		g.visitZone(node, args[0])
	case "date":
		rest := args
		if isZone(args[0]) {
			rest = args[1:]
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

func (g *guard) visitOperator(node *ast.Node, n *ast.BinaryNode) {
	switch n.Operator {
	case "..":
		g.refuse(n, "a range can stand after in only")
	case "+":
		if maybeText(n.Left) && maybeText(n.Right) {
			patch(node, addFunction, theEvent(), n.Left, n.Right)
		}
	case "==", "!=":
		if literal(n.Right) {
			asText(&n.Left)
		} else if literal(n.Left) {
			asText(&n.Right)
		}
		if isLarge(n.Left) && isLarge(n.Right) {
			patch(node, equalFunction, theEvent(), n.Left, n.Right)
			if n.Operator == "!=" {
				ast.Patch(node, &ast.UnaryNode{Operator: "not", Node: *node})
			}
		}
	case "<", "<=", ">", ">=":
		g.visitOrder(node, n)
	case "contains":
		asText(&n.Left)
		pay(&n.Left, perSearched)
		pay(&n.Right, perSearched)
	case "startsWith", "endsWith":
		asText(&n.Left)
		pay(&n.Right, perCompared)
	case "matches":
		asText(&n.Left)
		if pattern, ok := n.Right.(*ast.StringNode); ok {
			pay(&n.Left, perMatched*patternSize(pattern.Value))
		}
	case "in":
		g.visitIn(node, n)
	}
}

// visitOrder has a comparison of texts paid for. With the time of a track, which may be missing, it is false then.
func (g *guard) visitOrder(node *ast.Node, n *ast.BinaryNode) {
	missing := isTrackTime(n.Left) || isTrackTime(n.Right)
	if missing || maybeText(n.Left) && maybeText(n.Right) {
		patch(node, orderFunction, theEvent(), &ast.StringNode{Value: n.Operator}, &ast.BoolNode{Value: missing}, n.Left, n.Right)
	}
}

func (g *guard) visitIn(node *ast.Node, n *ast.BinaryNode) {
	g.faults = slices.DeleteFunc(g.faults, func(f fault) bool { return f.node == n.Right })
	if span, ok := n.Right.(*ast.BinaryNode); ok && span.Operator == ".." {
		patch(node, withinFunction, n.Left, span.Left, span.Right)
		return
	}
	if list, ok := n.Right.(*ast.ArrayNode); ok && !slices.ContainsFunc(list.Nodes, func(item ast.Node) bool { return !literal(item) }) {
		asText(&n.Left)
		pay(&n.Left, perCompared)
		return
	}
	patch(node, inFunction, theEvent(), n.Left, n.Right)
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

// isLarge says whether node can come to something that takes long to compare: a text, a list or an object of the event.
func isLarge(node ast.Node) bool {
	switch node.(type) {
	case *ast.StringNode, *ast.NilNode:
		return false
	}
	switch node.Type().Kind() {
	case reflect.String, reflect.Interface, reflect.Slice, reflect.Array, reflect.Map, reflect.Struct, reflect.Pointer:
		return true
	}
	return false
}

// isTrackTime says whether node is the time of a track, or nil.
func isTrackTime(node ast.Node) bool { return node.Type() == reflect.TypeFor[*time.Time]() }

// asText makes sure that node is not a number where it could be one.
func asText(node *ast.Node) {
	if (*node).Type().Kind() == reflect.Interface {
		patch(node, textFunction, *node)
	}
}

// pay makes sure that something which goes through the text or list that node comes to is paid for, at a rate.
func pay(node *ast.Node, rate int) {
	switch (*node).Type().Kind() {
	case reflect.String, reflect.Interface, reflect.Slice:
		patch(node, payFunction, theEvent(), *node, whole(rate))
	}
}

// weigh makes sure that what goes through all that node comes to is paid for.
func weigh(node *ast.Node) {
	switch (*node).Type().Kind() {
	case reflect.Bool, reflect.Int, reflect.Int64, reflect.Float64:
	default:
		patch(node, weighFunction, theEvent(), *node)
	}
}

// patch puts a call in the place of node.
func patch(node *ast.Node, function string, arguments ...ast.Node) {
	ast.Patch(node, call(function, arguments...))
}

func theEvent() ast.Node { return &ast.IdentifierNode{Value: "event"} }

func whole(n int) ast.Node { return &ast.IntegerNode{Value: n} }

func call(function string, arguments ...ast.Node) ast.Node {
	return &ast.CallNode{Callee: &ast.IdentifierNode{Value: function}, Arguments: arguments}
}

// costOf is what all nodes of an expression cost, each once.
func costOf(node ast.Node) int {
	var sum nodeCosts
	ast.Walk(&node, &sum)
	return int(sum)
}

type nodeCosts int

// Visit implements ast.Visitor.
func (c *nodeCosts) Visit(node *ast.Node) { *c += nodeCosts(nodeCost(*node)) }

// nodeCost is what a node costs by itself, without what depends on the event.
func nodeCost(node ast.Node) int {
	switch n := node.(type) {
	case *ast.BuiltinNode:
		return builtinCost(n) * perNode
	case *ast.CallNode:
		if callee, ok := n.Callee.(*ast.IdentifierNode); ok && strings.HasPrefix(callee.Value, "#") {
			return 10 * perNode
		}
		return 80 * perNode // a method
	case *ast.ArrayNode, *ast.SliceNode, *ast.MapNode, *ast.ConditionalNode:
		return 8 * perNode
	}
	return perNode
}

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
	return 20 // a loop, beside its turns, or a function of texts
}
