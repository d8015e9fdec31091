package route

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
)

// A tenant writes an expression, and it runs in the relay of all tenants. So it must not cost much, for any expression
// and any event. expr itself only counts what new arrays hold. Therefore
//
//   - only those builtins can be used that are pure, and whose cost can be told from their arguments;
//   - everything whose cost depends on the event is paid for before it is done (see cost.go): guard puts the payment
//     into the expression, as a call around an argument, or in place of the operation;
//   - what is paid is limited for an expression, for a tenant and for an event (see subject.allow);
//   - what would be slow to compile is refused beforehand (see inspect).
//
// All of this is deterministic: an expression that is too costly for an event is so every time and on every machine.

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

// fault is something in an expression that expr allows and a when must not have.
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
		// It is a method of a time, of which Format is the one that takes a text.
		for i := range n.Arguments {
			if isTrackTime(n.Arguments[i]) {
				patch(&n.Arguments[i], presentFunction, n.Arguments[i])
			}
			pay(&n.Arguments[i], perFormatted)
		}
	case *ast.PredicateNode:
		// A loop pays for its nodes at each turn.
		turn := call(turnFunction, theEvent(), whole(perTurn+costOf(n.Node)))
		turn.SetLocation(n.Node.Location())
		n.Node = &ast.SequenceNode{Nodes: []ast.Node{turn, n.Node}}
	case *ast.BinaryNode:
		g.visitOperator(node, n)
	}
}

// visitMember notes which parts of the event an expression names, and makes it pay for a name that is calculated.
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

// visitOperator makes an expression pay for an operation whose cost depends on the event.
func (g *guard) visitOperator(node *ast.Node, n *ast.BinaryNode) {
	switch n.Operator {
	case "..":
		g.refuse(n, "a range can stand after in only")

	case "+":
		if maybeText(n.Left) && maybeText(n.Right) {
			patch(node, addFunction, theEvent(), n.Left, n.Right)
		}

	case "==", "!=":
		// A number of the event is compared with a literal text by its digits.
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

// visitOrder makes an expression pay for a comparison of texts. A comparison with the time of a track is false if the
// track has none.
func (g *guard) visitOrder(node *ast.Node, n *ast.BinaryNode) {
	missing := isTrackTime(n.Left) || isTrackTime(n.Right)
	if missing || maybeText(n.Left) && maybeText(n.Right) {
		operator := &ast.StringNode{Value: n.Operator}
		patch(node, orderFunction, theEvent(), operator, &ast.BoolNode{Value: missing}, n.Left, n.Right)
	}
}

// visitIn makes an expression pay for a search in a list or object. A range is allowed here, so its fault is removed.
func (g *guard) visitIn(node *ast.Node, n *ast.BinaryNode) {
	g.faults = slices.DeleteFunc(g.faults, func(f fault) bool { return f.node == n.Right })
	if span, ok := n.Right.(*ast.BinaryNode); ok && span.Operator == ".." {
		patch(node, withinFunction, n.Left, span.Left, span.Right)
		return
	}
	if literals(n.Right) {
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

// literals says whether node is a list of literal texts.
func literals(node ast.Node) bool {
	list, ok := node.(*ast.ArrayNode)
	return ok && !slices.ContainsFunc(list.Nodes, func(item ast.Node) bool { return !literal(item) })
}

// maybeText says whether node can evaluate to a text.
func maybeText(node ast.Node) bool {
	kind := node.Type().Kind()
	return kind == reflect.String || kind == reflect.Interface
}

// isLarge says whether node can evaluate to something that takes long to compare: a text, a list or an object of the
// event.
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

// asText converts node to text if it could be a number.
func asText(node *ast.Node) {
	if (*node).Type().Kind() == reflect.Interface {
		patch(node, textFunction, *node)
	}
}

// pay makes an expression pay, at a rate, for going through the text or list that node evaluates to.
func pay(node *ast.Node, rate int) {
	switch (*node).Type().Kind() {
	case reflect.String, reflect.Interface, reflect.Slice:
		patch(node, payFunction, theEvent(), *node, whole(rate))
	}
}

// weigh makes an expression pay for going through everything in the value of node.
func weigh(node *ast.Node) {
	switch (*node).Type().Kind() {
	case reflect.Bool, reflect.Int, reflect.Int64, reflect.Float64:
	default:
		patch(node, weighFunction, theEvent(), *node)
	}
}

// patch replaces node by a call.
func patch(node *ast.Node, function string, arguments ...ast.Node) {
	ast.Patch(node, call(function, arguments...))
}

func theEvent() ast.Node { return &ast.IdentifierNode{Value: "event"} }

func whole(n int) ast.Node { return &ast.IntegerNode{Value: n} }

func call(function string, arguments ...ast.Node) ast.Node {
	return &ast.CallNode{Callee: &ast.IdentifierNode{Value: function}, Arguments: arguments}
}

// costOf returns the cost of all nodes of an expression, each counted once.
func costOf(node ast.Node) int {
	var sum nodeCosts
	ast.Walk(&node, &sum)
	return int(sum)
}

type nodeCosts int

// Visit implements ast.Visitor.
func (c *nodeCosts) Visit(node *ast.Node) { *c += nodeCosts(nodeCost(*node)) }

// nodeCost is the cost of a node itself, without the part that depends on the event.
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
