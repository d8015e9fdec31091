package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kuairelay/relay/cli"
)

// cliPage makes docs/reference/cli.md from the commands.
func cliPage() (string, error) {
	root := cli.Commands()
	var w strings.Builder
	w.WriteString(intro("cli"))
	status, _, err := root.Find([]string{"status"})
	if err != nil {
		return "", err
	}
	var common []*pflag.Flag
	for _, name := range []string{"url", "token", "key", "output"} {
		common = append(common, status.Flags().Lookup(name))
	}
	writeFlags(&w, common)

	for _, group := range root.Groups() {
		fmt.Fprintf(&w, "\n## %s\n", strings.TrimSuffix(group.Title, ":"))
		for _, cmd := range root.Commands() {
			if cmd.GroupID == group.ID {
				writeCommand(&w, 3, cmd, common)
			}
		}
	}
	return w.String(), nil
}

// writeCommand writes a command, and those below it. Flags that are common, with the same meaning, are only named.
func writeCommand(w *strings.Builder, level int, cmd *cobra.Command, common []*pflag.Flag) {
	fmt.Fprintf(w, "\n%s %s\n\n", strings.Repeat("#", level), cmd.CommandPath())
	about := cmd.Long
	if about == "" {
		about = cmd.Short + "."
	}
	writeHelp(w, about)
	fmt.Fprintf(w, "\n```text\n%s\n```\n", cmd.UseLine())
	if cmd.Example != "" {
		var example []string
		for line := range strings.SplitSeq(cmd.Example, "\n") {
			example = append(example, strings.TrimPrefix(line, "  "))
		}
		fmt.Fprintf(w, "\nFor example:\n\n```text\n%s\n```\n", strings.Join(example, "\n"))
	}

	var own []*pflag.Flag
	var shared []string
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		same := func(c *pflag.Flag) bool { return c.Name == f.Name && c.Usage == f.Usage }
		switch {
		case slices.ContainsFunc(common, same):
			shared = append(shared, "`--"+f.Name+"`")
		case f.Name != "help":
			own = append(own, f)
		}
	})
	if len(own) > 0 {
		fmt.Fprintln(w)
		writeFlags(w, own)
	}
	if len(shared) > 0 {
		fmt.Fprintf(w, "\n[Common flags](#common-flags): %s.\n", strings.Join(shared, ", "))
	}

	for _, below := range cmd.Commands() {
		if below.IsAvailableCommand() {
			writeCommand(w, level+1, below, common)
		}
	}
}

// writeHelp writes a help text. Lines that are indented are code.
func writeHelp(w *strings.Builder, text string) {
	code, empty := false, true
	for line := range strings.SplitSeq(text, "\n") {
		indented := strings.HasPrefix(line, "  ")
		if indented && !code && !empty {
			fmt.Fprintln(w)
		}
		if indented && !code {
			fmt.Fprintln(w, "```text")
		}
		if !indented && code {
			fmt.Fprint(w, "```\n")
		}
		code, empty = indented, line == ""
		fmt.Fprintln(w, strings.TrimPrefix(line, "  "))
	}
	if code {
		fmt.Fprintln(w, "```")
	}
}

func writeFlags(w *strings.Builder, flags []*pflag.Flag) {
	fmt.Fprint(w, "| flag | default | meaning |\n|---|---|---|\n")
	for _, f := range flags {
		kind, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		if kind != "" {
			name += " " + kind
		}
		fallback := "none"
		if kind == "" {
			fallback = "off"
		}
		switch {
		case !slices.Contains([]string{"", "0", "false", "[]", "0s"}, f.DefValue):
			fallback = "`" + f.DefValue + "`"
		case strings.Contains(usage, "default"): // it says more than one word
			fallback = ""
		}
		fmt.Fprintf(w, "| `%s` | %s | %s |\n", cell(name), fallback, cell(usage))
	}
}
