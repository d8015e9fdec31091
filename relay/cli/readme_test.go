package cli_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"kuairelay/test/redisserver"
	"kuairelay/test/terminal"
)

// notRun are the commands of the README that this test cannot run, by how they begin, with the reason.
var notRun = map[string]string{
	"./test/run":           "it runs this test",
	"go test -fuzz":        "it runs for a minute; ./test/run runs the seeds of every fuzz target",
	"go test -run '^$'":    "micro-benchmarks take minutes",
	"go run ./test/bench":  "the benchmark takes minutes; test/bench tests itself with --quick",
	"go test ./test/crash": "it takes three minutes; ./test/run runs it with fewer operations",
	"go run ./test/faults": "it takes many minutes, and is a check of its own",
	"go run ./test/mutate": "it takes hours; test/mutate has tests of its own",
	"docker build .":       "there may be no docker",
}

// kept are those that go on until they are interrupted, with what they print when they are at work.
var kept = map[string]string{
	"go run . listen":                       "Listening on",
	"go run . serve -c config.example.yaml": "listening",
	"go run . tail --endpoint shop/orders":  "777005949070187",
}

// prints is what commands have to print; the others have to succeed.
var prints = map[string]string{
	"curl http://127.0.0.1:8080/v1/subscriptions":                 "no kuaidihelp account",
	"curl http://127.0.0.1:8080/api":                              `"code":`,
	"go run . waybill 777005949070187":                            "777005949070187: 1 update",
	"go run . status":                                             "ready, version",
	"go run . events":                                             "777005949070187",
	"go run . endpoints":                                          "shop/orders",
	"go run . test shop/orders":                                   "200",
	"go run . pause shop/orders":                                  "paused",
	"go run . replay --endpoint shop/orders --since 2h --dry-run": "1 deliveries would be queued again",
	"go run . replay --endpoint shop/orders --since 2h --rate":    "1 deliveries queued again",
	"go run . replay list":                                        "done",
	"curl -i http://127.0.0.1:8080/callback":                      "success",
	"curl -s http://127.0.0.1:8080/v1/waybills":                   `"state":"delivered"`,
	"curl -s http://127.0.0.1:8081/admin":                         `"endpoint":"shop/orders"`,
	"curl -s http://127.0.0.1:8080/v1/openapi.json":               `"openapi":"3.1.0"`,
	"kuairelay check":                                             "ok, ",
	"kuairelay explain":                                           "shop/orders",
	"kuairelay explain -c config.example.yaml --waybill":          "yes  shop/orders, is delivered",
	"kuairelay diff":                                              " would go elsewhere",
	"kuairelay events --data":                                     `"context": "正在派件"`,
	"kuairelay schema":                                            `"$schema"`,
	"kuairelay healthcheck":                                       "healthy",
}

// fail are those that cannot succeed here, with what they have to say: config.example.yaml has no account at
// kuaidihelp.
var fail = map[string]string{
	"kuairelay subscribe": "no kuaidihelp account",
}

// placeholders of commands that stand in the text, rather than in a block.
var placeholders = strings.NewReplacer("-c FILE", "-c config.example.yaml", " FILE", " config.example.yaml",
	"EVENT.json", "relay/cli/testdata/event.json", "CODE", "777005949070187", "OLD NEW",
	"config.example.yaml config.example.yaml",
	"kuairelay verify", "kuairelay verify --help", "kuairelay completion", "kuairelay completion bash")

func TestEveryCommandOfTheReadmeWorksAsItIsWritten(t *testing.T) {
	t.Parallel()
	for file, least := range map[string]int{"README.md": 30, "README.zh-CN.md": 20} {
		t.Run(file, func(t *testing.T) { runReadme(t, file, least) }) // one at a time: they have the same ports
	}
}

func runReadme(t *testing.T, file string, least int) {
	t.Helper()
	term, dir := openTerminal(t)
	seen := 0
	for _, command := range readmeCommands(t, file) {
		seen++
		if reason := lookup(notRun, command); reason != "" {
			t.Logf("not run: %s: %s", strings.SplitN(command, "\n", 2)[0], reason)
			continue
		}
		if ready := lookup(kept, command); ready != "" {
			job := term.Start(command)
			if !job.Await(func(output string) bool { return strings.Contains(output, ready) }) {
				t.Fatalf("%s\nprints no %q:\n%s", command, ready, job.Output())
			}
			continue
		}
		if strings.Contains(command, " config.yaml") { // not in the repository
			command = "(cd " + dir + " && " + command + "\n)"
		}
		output, code := term.Run(command)
		if want := lookup(fail, command); want != "" {
			if code != 1 || !strings.Contains(output, want) {
				t.Errorf("%s\nexits with %d, and prints:\n%s", command, code, output)
			}
			continue
		}
		if code != 0 {
			t.Errorf("%s\nexits with %d:\n%s", command, code, output)
		}
		if want := lookup(prints, command); !strings.Contains(output, want) {
			t.Errorf("%s\nprints no %q:\n%s", command, want, output)
		}
	}
	if seen < least {
		t.Errorf("only %d commands: are those of %s found?", seen, file)
	}
}

// lookup finds what a table says of the longest beginning of a command.
func lookup(table map[string]string, command string) (found string) {
	longest := 0
	for beginning, v := range table {
		if strings.HasPrefix(command, beginning) && len(beginning) > longest {
			longest, found = len(beginning), v
		}
	}
	return found
}

var inText = regexp.MustCompile("`((?:kuairelay|docker|go run) [^`]+)`")

// readmeCommands are the commands of the sh blocks, and then those in the text, in their order.
func readmeCommands(t *testing.T, file string) []string {
	t.Helper()
	f, err := os.Open(filepath.Join("../..", file))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var commands, texts []string
	kind, open := "", false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "```"):
			open = !open
			kind = strings.TrimPrefix(line, "```")
		case open && kind == "sh" && strings.HasPrefix(line, " "): // it goes on
			commands[len(commands)-1] += "\n" + line
		case open && kind == "sh" && strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "#"):
			commands = append(commands, line)
		case !open:
			for _, m := range inText.FindAllStringSubmatch(line, -1) {
				texts = append(texts, placeholders.Replace(m[1]))
			}
		}
	}
	return append(commands, texts...)
}

// openTerminal opens a terminal at the root of the repository, with what the README says in placeholders: the key of
// config.example.yaml's tenant, and in dir a config.yaml with a Redis, which is reached through a socket because it is
// outside of the terminal's network.
func openTerminal(t *testing.T) (term *terminal.Terminal, dir string) {
	t.Helper()
	dir = t.TempDir()
	socket := filepath.Join(dir, "redis.sock")
	redisserver.Start(t, "--unixsocket", socket)
	config := fmt.Sprintf("redis: {url: 'unix://%s'}\ncallback: {tokens: [callback-token]}\n", socket)
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}

	term = terminal.Open(t, "../..", "GOFLAGS=-mod=readonly", "GOPROXY=off")
	build := fmt.Sprintf("export SHOP_API_KEY=example-api-key-change-me PATH=%s/bin:$PATH && go "+
		"build -o %[1]s/bin/kuairelay .", dir)
	if output, code := term.Run(build); code != 0 {
		t.Fatal(output)
	}
	return term, dir
}
