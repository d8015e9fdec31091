// Command paragraphs holds the product's code to what can be read in steps: go run ./test/paragraphs [--figures]
// [folder]
//
// It prints one line for each place that breaks a rule, and exits with 1 if there is one:
//
//   - a function of more than 25 lines and one statement has a blank line in it, and a Lua script has no more than 25
//     lines of code without one or a comment
//   - a line of a Lua script has at most 120 columns; those of Go are the linter's
//   - an if declares (:=) or sets an error; it does nothing else before its condition
//   - a for that begins with a statement ends with one: it is no scope for a variable
//   - a struct of five fields or more is written with their names
//
// With --figures it prints counts instead, and exits with 0. Tests and generated files are not looked at.
package main

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

const (
	longest = 25 // lines of a function or script without a blank one
	places  = 5  // fields of a struct that have to be named
	columns = 120
)

func main() {
	figures := flag.Bool("figures", false, "print counts instead of places")
	flag.Parse()
	folder := "relay"
	if flag.NArg() > 0 {
		folder = flag.Arg(0)
	}

	r, err := read(folder)
	if err != nil {
		fmt.Fprintln(os.Stderr, "paragraphs:", err)
		os.Exit(2)
	}

	if *figures {
		r.printFigures(os.Stdout)
		return
	}
	for _, place := range r.broken {
		fmt.Println(place)
	}
	if len(r.broken) > 0 {
		os.Exit(1)
	}
}

// report is what was seen in a folder.
type report struct {
	broken []string // FILE:LINE: what is wrong there

	functions   int // of Go
	long        int // of those, with more than longest lines
	unbroken    int // of the long, without a blank line
	uncommented int // of the long, without a comment
	folded      int // statements in an if or a for that belong before it
	positional  int // literals
	largest     int // lines of the largest file
	largestFile string
}

// read looks at all files of Go and Lua below a folder.
func read(folder string) (*report, error) {
	r := &report{}
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, "_test.go") {
			return err
		}
		ext := filepath.Ext(path)
		if ext != ".go" && ext != ".lua" {
			return nil
		}

		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if ext == ".lua" {
			r.lua(path, string(text))
			return nil
		}
		return r.goFile(path, text)
	})
	return r, err
}

func (r *report) printFigures(w io.Writer) {
	share := func(n int) string { return fmt.Sprintf("%d of %d (%d %%)", n, r.long, 100*n/max(r.long, 1)) }
	fmt.Fprintf(w, "functions                               %d\n", r.functions)
	fmt.Fprintf(w, "of more than %d lines, no blank line     %s\n", longest, share(r.unbroken))
	fmt.Fprintf(w, "of more than %d lines, no comment        %s\n", longest, share(r.uncommented))
	fmt.Fprintf(w, "folded statements                       %d\n", r.folded)
	fmt.Fprintf(w, "positional literals of %d and more       %d\n", places, r.positional)
	fmt.Fprintf(w, "largest file                            %d lines, %s\n", r.largest, r.largestFile)
}

// lua looks for long lines, and for runs of lines without a blank one or a comment.
func (r *report) lua(path, text string) {
	run := 0
	for i, line := range strings.Split(text, "\n") {
		if utf8.RuneCountInString(line) > columns {
			r.broken = append(r.broken, fmt.Sprintf("%s:%d: more than %d columns", path, i+1, columns))
		}

		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "--") {
			run = 0
			continue
		}
		run++
		if run == longest+1 {
			r.broken = append(r.broken, fmt.Sprintf("%s:%d: more than %d lines without a blank line or a comment", path, i+1,
				longest))
		}
	}
}

// goFile looks at a file of Go; an error is about its syntax.
func (r *report) goFile(path string, text []byte) error {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, text, parser.ParseComments)
	if err != nil {
		return err
	}
	if ast.IsGenerated(file) {
		return nil
	}

	lines := strings.Split(string(text), "\n")
	if n := len(lines) - 1; n > r.largest {
		r.largest, r.largestFile = n, path
	}

	at := func(node ast.Node) int { return files.Position(node.Pos()).Line }
	broken := func(node ast.Node, format string, args ...any) {
		r.broken = append(r.broken, fmt.Sprintf("%s:%d: ", path, at(node))+fmt.Sprintf(format, args...))
	}
	for _, decl := range file.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && f.Body != nil {
			r.function(f, lines[at(f)-1:files.Position(f.End()).Line], broken)
		}
	}

	ast.Inspect(file, func(node ast.Node) bool {
		switch x := node.(type) {
		case *ast.IfStmt:
			if !plain(x.Init) {
				r.folded++
				broken(x, "an if that does something before its condition: put that before the if")
			}
		case *ast.ForStmt:
			if x.Init != nil && x.Post == nil {
				r.folded++
				broken(x, "a for that begins with a statement and ends with none: put that before the for")
			}
		case *ast.CompositeLit:
			if n := positional(x); n >= places {
				r.positional++
				broken(x, "a literal of %d fields without their names", n)
			}
		}
		return true
	})
	return nil
}

// function looks at the lines of a function, from its first to its last.
func (r *report) function(f *ast.FuncDecl, lines []string, broken func(ast.Node, string, ...any)) {
	r.functions++
	if len(lines)-2 <= longest || len(f.Body.List) == 1 { // one statement, such as a table, has no steps
		return
	}

	r.long++
	blank, comment := false, false
	for _, line := range lines {
		line = strings.TrimSpace(line)
		blank = blank || line == ""
		comment = comment || strings.HasPrefix(line, "//")
	}
	if !comment {
		r.uncommented++
	}
	if !blank {
		r.unbroken++
		broken(f, "%s has %d lines without a blank line", f.Name.Name, len(lines)-2)
	}
}

// plain says that a statement before the condition of an if declares something, or sets an error.
func plain(init ast.Stmt) bool {
	if init == nil {
		return true
	}
	assign, ok := init.(*ast.AssignStmt)
	if !ok {
		return false
	}
	if assign.Tok == token.DEFINE {
		return true
	}
	for _, left := range assign.Lhs {
		if name, ok := left.(*ast.Ident); ok && (name.Name == "err" || strings.HasSuffix(name.Name, "Err")) {
			return true
		}
	}
	return false
}

// positional is how many fields of a struct are written without their names: 0 if it is no struct, as far as its form
// shows. Structs in a list leave their type out.
func positional(x *ast.CompositeLit) int {
	switch t := x.Type.(type) {
	case *ast.ArrayType:
		most := 0
		if _, nested := t.Elt.(*ast.ArrayType); !nested {
			for _, e := range x.Elts {
				if inner, ok := e.(*ast.CompositeLit); ok && inner.Type == nil {
					most = max(most, unnamed(inner))
				}
			}
		}
		return most
	case *ast.Ident, *ast.SelectorExpr, *ast.StructType:
		if len(x.Elts) > 0 {
			if inner, ok := x.Elts[0].(*ast.CompositeLit); ok && inner.Type == nil {
				return 0 // a list of a type with a name
			}
		}
		return unnamed(x)
	}
	return 0
}

func unnamed(x *ast.CompositeLit) int {
	for _, e := range x.Elts {
		if _, named := e.(*ast.KeyValueExpr); named {
			return 0
		}
	}
	return len(x.Elts)
}
