package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// mutant is a line of a file, and what to write instead.
type mutant struct {
	file     string
	line     int // from 1; the nearest that reads as old is meant
	old, new string
}

// String is a line with tabs in between: FILE:LINE, the old line and the new one.
func (m mutant) String() string {
	return fmt.Sprintf("%s:%d\t%s\t%s", m.file, m.line, strings.TrimSpace(m.old), strings.TrimSpace(m.new))
}

// readMutants reads what String writes. Lines that begin with # are comments.
func readMutants(path string) ([]mutant, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var all []mutant
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		cells := strings.SplitN(line, "\t", 3)
		if len(cells) < 3 {
			return nil, fmt.Errorf("%s: %q is not FILE:LINE, the old line and the new one, with tabs in between", path, line)
		}
		file, number, _ := strings.Cut(cells[0], ":")
		n, err := strconv.Atoi(number)
		if err != nil {
			return nil, fmt.Errorf("%s: %q: %w", path, line, err)
		}
		all = append(all, mutant{file, n, cells[1], cells[2]})
	}
	return all, nil
}

// apply changes the line of a text that reads as the old one; of several the nearest.
func (m mutant) apply(text string) (string, error) {
	lines := strings.Split(text, "\n")
	best := -1
	for i, line := range lines {
		if strings.TrimSpace(line) == strings.TrimSpace(m.old) &&
			(best < 0 || distance(i+1, m.line) < distance(best+1, m.line)) {
			best = i
		}
	}
	if best < 0 {
		return "", fmt.Errorf("%s: no line reads %q", m.file, m.old)
	}
	lines[best] = m.new
	return strings.Join(lines, "\n"), nil
}

func distance(a, b int) int { return max(a-b, b-a) }

// mutantsOf lists the changes to a file: none, if it is neither Lua nor Go, or a test.
func mutantsOf(path string) ([]mutant, error) {
	if strings.HasSuffix(path, "_test.go") || !strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, ".lua") {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if strings.HasSuffix(path, ".lua") {
		return luaMutants(path, string(text)), nil
	}
	return goMutants(path, text)
}

// swapped are the operators that change places.
var swapped = map[token.Token][]string{
	token.LSS: {"<=", ">="}, token.LEQ: {"<", ">"}, token.GTR: {">=", "<="}, token.GEQ: {">", "<"}, token.EQL: {"!="},
	token.NEQ:  {"=="},
	token.LAND: {"||"}, token.LOR: {"&&"}, token.ADD: {"-"}, token.SUB: {"+"}, token.MUL: {"/"}, token.QUO: {"*"},
}

// goFile collects the mutants of a Go file.
type goFile struct {
	path  string
	set   *token.FileSet
	lines []string
	out   []mutant
}

func goMutants(path string, text []byte) ([]mutant, error) {
	f := goFile{path: path, set: token.NewFileSet(), lines: strings.Split(string(text), "\n")}
	tree, err := parser.ParseFile(f.set, path, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	ast.Inspect(tree, f.visit)
	return f.out, nil
}

// visit adds the mutants of a node, and says whether those within it count.
func (f *goFile) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.ImportSpec:
		return false
	case *ast.ExprStmt:
		return !dull.MatchString(f.text(n))
	case *ast.BinaryExpr:
		for _, op := range swapped[n.Op] {
			f.replace(n.OpPos, n.OpPos+token.Pos(len(n.Op.String())), op)
		}
	case *ast.IfStmt:
		cond := f.text(n.Cond)
		f.replace(n.Cond.Pos(), n.Cond.End(), "!("+cond+")")
		f.replace(n.Cond.Pos(), n.Cond.End(), "("+cond+") && false")
		f.replace(n.Cond.Pos(), n.Cond.End(), "("+cond+") || true")
	case *ast.Ident:
		if other := map[string]string{"true": "false", "false": "true"}[n.Name]; other != "" {
			f.replace(n.Pos(), n.End(), other)
		}
	case *ast.BasicLit:
		for _, other := range otherNumbers(n) {
			f.replace(n.Pos(), n.End(), other)
		}
	case *ast.IncDecStmt:
		f.replace(n.TokPos, n.End(), map[token.Token]string{token.INC: "--", token.DEC: "++"}[n.Tok])
	case *ast.BlockStmt:
		f.drop(n.List)
	case *ast.CaseClause:
		f.drop(n.Body)
	case *ast.CommClause:
		f.drop(n.Body)
	}
	return true
}

// otherNumbers are one more and ten times as many.
func otherNumbers(n *ast.BasicLit) []string {
	v, err := strconv.ParseInt(n.Value, 0, 64)
	switch {
	case n.Kind != token.INT || err != nil || strings.HasPrefix(n.Value, "0o"): // the mode of a file
		return nil
	case v == 0:
		return []string{"1"}
	default:
		return []string{strconv.FormatInt(v+1, 10), strconv.FormatInt(v*10, 10)}
	}
}

// dull are calls to leave alone: what the log says is not tested, and a lock that is missing only the race detector
// sees.
var dull = regexp.MustCompile(`^(?:\w+\.)*log\.|\.(?:R?Lock|R?Unlock)\(\)$`)

// drop leaves out statements, one at a time. What declares something, or begins a block, stays.
func (f *goFile) drop(list []ast.Stmt) {
	for _, s := range list {
		drop := false
		switch s := s.(type) {
		case *ast.AssignStmt:
			drop = s.Tok != token.DEFINE
		case *ast.ReturnStmt:
			drop = len(s.Results) == 0 // others seldom build
		case *ast.ExprStmt, *ast.IncDecStmt, *ast.DeferStmt, *ast.SendStmt, *ast.BranchStmt:
			drop = !dull.MatchString(f.text(s))
		}
		if drop {
			f.replace(s.Pos(), s.End(), "")
		}
	}
}

// text is how a node is written, if that is within a line.
func (f *goFile) text(n ast.Node) string {
	from, to := f.set.Position(n.Pos()), f.set.Position(n.End())
	if from.Line != to.Line {
		return ""
	}
	return f.lines[from.Line-1][from.Column-1 : to.Column-1]
}

// replace adds a mutant, if what it replaces is within a line.
func (f *goFile) replace(from, to token.Pos, by string) {
	a, b := f.set.Position(from), f.set.Position(to)
	if a.Line != b.Line {
		return
	}
	line := f.lines[a.Line-1]
	f.out = append(f.out, mutant{f.path, a.Line, line, line[:a.Column-1] + by + line[b.Column-1:]})
}

var (
	luaToken   = regexp.MustCompile(`'[^']*'|"[^"]*"|--.*|<=|>=|==|~=|<|>|\b(?:and|or|not|true|false)\b|\b\d+\b|[+*]| - `)
	luaCall    = regexp.MustCompile(`^\s*(?:redis\.call|rcall|touch|last)\([^()]*(?:\([^()]*\)[^()]*)*\)\s*(?:--.*)?$`)
	luaCount   = regexp.MustCompile(`^\s*([\w.]+) = .*$`)
	luaIf      = regexp.MustCompile(`\b(if|elseif) (.+?) then\b`)
	luaSwapped = map[string][]string{
		"<": {"<=", ">="}, "<=": {"<", ">"}, ">": {">=", "<="}, ">=": {">", "<"}, "==": {"~="}, "~=": {"=="}, "and": {"or"},
		"or":  {"and"},
		"not": {""}, "true": {"false"}, "false": {"true"}, "+": {"-"}, " - ": {" + "}, "*": {"/"},
	}
)

// luaMutants changes a Lua file by its text.
func luaMutants(path, text string) (out []mutant) {
	for i, line := range strings.Split(text, "\n") {
		add := func(changed string) { out = append(out, mutant{path, i + 1, line, changed}) }
		if luaCall.MatchString(line) || luaCount.MatchString(line) && !strings.HasSuffix(line, "{") {
			add("")
		}
		if m := luaIf.FindStringSubmatchIndex(line); m != nil {
			add(line[:m[4]] + "not (" + line[m[4]:m[5]] + ")" + line[m[5]:])
		}
		for _, at := range luaToken.FindAllStringIndex(line, -1) {
			word := line[at[0]:at[1]]
			others := luaSwapped[word]
			if n, err := strconv.Atoi(word); err == nil {
				others = []string{strconv.Itoa(n + 1)}
			}
			for _, other := range others {
				add(line[:at[0]] + other + line[at[1]:])
			}
		}
	}
	return out
}
