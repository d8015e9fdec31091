package route

import (
	"fmt"
	"regexp/syntax"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
)

const (
	// maxWhenVisits limits the parts of an expression, each counted as often as it is evaluated: the parser puts the b of
	// a < b < c into two comparisons, and the a of a ?: b into two places.
	maxWhenVisits = 2 * maxWhenNodes
	// maxPatternSize limits the regular expressions of an expression, in instructions, all together.
	maxPatternSize = 1000
)

// inspect refuses expressions that would be slow to compile. It leaves mistakes that it does not see to expr.
func inspect(source string) (err error) {
	config := conf.CreateNew()
	config.MaxNodes = maxWhenNodes
	tree, err := parser.ParseWithConfig(source, config)
	if err != nil {
		return err
	}

	i := inspector{}
	defer func() {
		switch r := recover().(type) {
		case nil:
		case *file.Error:
			err = r.Bind(file.NewSource(source))
		default:
			panic(r)
		}
	}()
	ast.Walk(&tree.Node, &i)
	return nil
}

// inspector panics with a *file.Error at the first fault, because nothing else ends a walk.
type inspector struct {
	visits  int
	pattern int // size of all patterns so far
}

// Visit implements ast.Visitor.
func (i *inspector) Visit(node *ast.Node) {
	i.visits++
	if i.visits > maxWhenVisits {
		stop(*node, "the expression is too large: what stands between two comparisons, or before ?:, is evaluated twice")
	}
	n, ok := (*node).(*ast.BinaryNode)
	if !ok || n.Operator != "matches" {
		return
	}

	pattern, constant := n.Right.(*ast.StringNode)
	if !constant {
		stop(n, "the pattern of matches must be a literal text")
	}
	if _, err := syntax.Parse(pattern.Value, syntax.Perl); err != nil {
		stop(n, err.Error())
	}
	i.pattern += patternSize(pattern.Value)
	if i.pattern > maxPatternSize {
		stop(n, fmt.Sprintf("the patterns of matches are too large: with what they repeat, at most %d steps are allowed",
			maxPatternSize))
	}
}

// stop ends the walk with a fault.
func stop(node ast.Node, text string) {
	panic(&file.Error{Location: node.Location(), Message: text})
}

// patternSize returns about how many instructions a regular expression has when it is compiled, without compiling it: a
// repetition is as large as everything that it repeats. A large class of characters counts more.
func patternSize(pattern string) int {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 1
	}
	return sizeOf(parsed)
}

func sizeOf(re *syntax.Regexp) int {
	size := 1
	for _, sub := range re.Sub {
		size = min(size+sizeOf(sub), 2*maxPatternSize)
	}
	switch re.Op {
	case syntax.OpLiteral:
		size = len(re.Rune)
	case syntax.OpCharClass:
		size += len(re.Rune) / 16
	case syntax.OpRepeat:
		size *= max(re.Min, re.Max, 1)
	}
	return min(size, 2*maxPatternSize)
}
