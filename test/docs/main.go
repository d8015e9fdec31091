// Command docs holds the pages of the documentation to what they describe: go run ./test/docs writes the pages of
// docs/reference that are made from their source, and the tests run what the pages say.
//
// Every command of every page in docs is run as it is written: go test ./test/docs -run Pages/tenant/quickstart. A page
// is run from top to bottom by one bash, in a fresh copy of the repository's files, with kuairelay on its PATH, and
// with a network and processes of its own. The info string of a fenced block says what is done with it:
//
//	```sh               each command has to succeed
//	```sh fails         the last command has to fail
//	```sh background    the commands go on until the end of the page; the text block after them says what they print
//	                    when they are at work
//	```sh root          as root, the commands make the network and processes of the page a machine to install on; without
//	                    root the page ends here
//	```sh skip="WHY"    it is not run
//	```text             after a block of commands: each line is a line of what they print, in this order, whatever the
//	                    number of spaces; … stands for anything
//	```yaml file=PATH   (or another language) it is written to PATH, where the shell is now
//
// Other blocks are only shown. A page with <!-- setup: relay --> in one of its first five lines begins with `kuairelay
// listen` and `kuairelay serve -c config.example.yaml` at work. What a reader does in another way (Ctrl-C) stands in an
// HTML comment: blocks in it are run, but not shown; pkill ends only what the page has started. A page that needs a
// program that is not installed is run up to there, and then skipped, which a CI counts as a failure: see need in
// test/run.
package main

import (
	"embed"
	"fmt"
	"os"
	"path/filepath"
)

// generated are the pages of docs/reference that are made from their source, by their names.
var generated = map[string]func() (string, error){
	"api.md":     apiPage,
	"cli.md":     cliPage,
	"config.md":  configPage,
	"metrics.md": metricsPage,
}

//go:embed intro
var intros embed.FS

// intro returns the beginning of a generated page, which is written by hand.
func intro(page string) string {
	text, err := intros.ReadFile("intro/" + page + ".md")
	if err != nil {
		panic(err) // it is in the program
	}
	return string(text)
}

// top is the root of the repository.
var top = "."

const reference = "docs/reference"

func main() {
	for name, make := range generated {
		text, err := make()
		if err == nil {
			err = os.WriteFile(filepath.Join(top, reference, name), []byte(text), 0o644)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			os.Exit(1)
		}
	}
}
