package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"kuairelay/test/terminal"
)

func TestTheReferenceIsWhatItsSourceSays(t *testing.T) {
	t.Parallel()
	for name, make := range generated {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want, err := make()
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join(root, reference, name))
			if err != nil {
				t.Fatal(err)
			}
			if string(got) == want {
				return
			}
			a, b := strings.Split(string(got), "\n"), strings.Split(want, "\n")
			i := 0
			for i < min(len(a), len(b))-1 && a[i] == b[i] {
				i++
			}
			t.Errorf("%s/%s:%d is not what its source says: go run ./test/docs writes it\nit says  %s\nthe source %s",
				reference, name, i+1, a[i], b[i])
		})
	}
}

// closed are the labels whose values are all known.
var closed = []string{"outcome", "state", "answer", "listener", "result", "advice", "limit"}

func TestEveryMetricOfARelayIsInTheReference(t *testing.T) {
	t.Parallel()
	term := terminal.Open(t, copyTree(t), append(goEnv, "PATH="+binary(t)+":"+os.Getenv("PATH"))...)
	for command, ready := range map[string]string{
		"kuairelay listen":                       "Listening on",
		"kuairelay serve -c config.example.yaml": `"listening"`,
	} {
		job := term.Start(command)
		if !job.Await(func(output string) bool { return strings.Contains(output, ready) }) {
			t.Fatalf("%s\n%s", command, job.Output())
		}
	}
	for _, command := range []string{"kuairelay send -n 20 --duplicates 0.5", "curl -s http://127.0.0.1:8080/v1/events",
		"kuairelay pause shop/alerts", "kuairelay test shop/orders"} {
		if output, code := term.Run(command); code != 0 {
			t.Fatalf("%s\n%s", command, output)
		}
	}
	scraped, _ := term.Run("curl -s http://127.0.0.1:8081/metrics")

	all, err := metrics()
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]string{}
	for _, m := range all {
		kinds[m.name] = m.kind
	}
	types := regexp.MustCompile(`(?m)^# TYPE (kuairelay_\w+) (\w+)$`).FindAllStringSubmatch(scraped, -1)
	for _, m := range types {
		if kinds[m[1]] != m[2] {
			t.Errorf("%s is a %s, and the reference has %q", m[1], m[2], kinds[m[1]])
		}
	}
	line := regexp.MustCompile(`(?m)^(kuairelay_\w+?)(?:_bucket|_sum|_count)?\{(.*)\} `)
	series := line.FindAllStringSubmatch(scraped, -1)
	for _, m := range series {
		for _, label := range regexp.MustCompile(`(\w+)="([^"]*)"`).FindAllStringSubmatch(m[2], -1) {
			values := labelValues[m[1]+" "+label[1]]
			if slices.Contains(closed, label[1]) && !strings.Contains(values, "`"+label[2]+"`") {
				t.Errorf("%s has %s=%q, and the reference only %s", m[1], label[1], label[2], values)
			}
		}
	}
	if len(types) < 30 || len(series) < 60 {
		t.Errorf("only %d metrics and %d series", len(types), len(series))
	}
}

// A bound of the page of limits that has a key is the default of the key.
func TestTheLimitsAreTheDefaults(t *testing.T) {
	t.Parallel()
	c, err := readSchema()
	if err != nil {
		t.Fatal(err)
	}
	plain := strings.NewReplacer(" ", "", ",", "")
	bounds := map[string][]string{} // by key
	for line := range strings.SplitSeq(fileText(t, reference+"/limits.md"), "\n") {
		cells := strings.Split(line, " | ")
		if len(cells) < 4 {
			continue
		}
		for _, key := range codeSpan.FindAllString(cells[2], -1) {
			key = strings.Trim(key, "`")
			bounds[key] = append(bounds[key], cells[1])
		}
	}

	held := 0
	for key, cells := range bounds {
		k, ok := c.find(key)
		if !ok || k.Default == nil || k.Items != nil {
			continue
		}
		held++
		fallback := fmt.Sprint(k.Default)
		if n, isNumber := k.Default.(float64); isNumber {
			fallback = strconv.FormatFloat(n, 'f', -1, 64)
		}
		if d, isDays := strings.CutSuffix(fallback, "d"); isDays {
			n, _ := strconv.Atoi(d)
			fallback = strconv.Itoa(24*n) + "h"
		}
		has := func(cell string) bool { return strings.Contains(plain.Replace(cell), fallback) }
		if !slices.ContainsFunc(cells, has) {
			t.Errorf("limits.md: the default of %s is %s, and the page has %q", key, fallback, cells)
		}
	}
	if held < 10 {
		t.Errorf("only %d keys", held)
	}
}
