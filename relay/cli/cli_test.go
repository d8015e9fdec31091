package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kuairelay/relay/cli"
)

const (
	secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	other  = "whsec_b3RoZXIgdGVzdCBzZWNyZXQsIG5vIG9uZSdz"
)

// output is what a command prints; it can be read while the command runs.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// command is one that runs.
type command struct {
	t              *testing.T
	stdout, stderr *output
	interrupt      context.CancelFunc // as Ctrl-C does
	exit           chan int
}

// start runs a command until it ends by itself, or is interrupted at the end of the test.
func start(t *testing.T, stdin string, args ...string) *command {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	c := &command{t: t, stdout: &output{}, stderr: &output{}, interrupt: cancel, exit: make(chan int, 1)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.exit <- cli.Run(ctx, args, strings.NewReader(stdin), c.stdout, c.stderr)
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return c
}

// wait returns the exit code.
func (c *command) wait() int {
	c.t.Helper()
	select {
	case code := <-c.exit:
		return code
	case <-time.After(2 * time.Minute):
		c.t.Fatalf("still running after two minutes; stdout:\n%s\nstderr:\n%s", c.stdout, c.stderr)
		return -1
	}
}

// run runs a command to its end.
func run(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	c := start(t, stdin, args...)
	code = c.wait()
	return code, c.stdout.String(), c.stderr.String()
}

// TestMain takes the variables that commands and config.example.yaml read out of the environment of whoever runs the
// tests.
func TestMain(m *testing.M) {
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if slices.ContainsFunc([]string{"KUAIRELAY_", "KUAIDIHELP_", "SHOP_", "WEBHOOK_"}, func(prefix string) bool {
			return strings.HasPrefix(name, prefix)
		}) {
			_ = os.Unsetenv(name)
		}
	}
	os.Exit(m.Run())
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// after waits until a text is printed, and returns what follows it, up to a stop.
func after(t *testing.T, o *output, text, stop string) string {
	t.Helper()
	until(t, "it prints "+text, func() bool {
		_, rest, ok := strings.Cut(o.String(), text)
		return ok && strings.Contains(rest, stop)
	})
	_, rest, _ := strings.Cut(o.String(), text)
	rest, _, _ = strings.Cut(rest, stop)
	return rest
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func parse[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// taken is the address of a port that is in use.
func taken(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

func TestWrongUsageExitsWith2AndNamesTheMistakeAndTheUsage(t *testing.T) {
	t.Parallel()
	for args, want := range map[string][]string{
		"srve":                                   {`unknown command "srve"`, "serve", "usage: kuairelay COMMAND"},
		"--verbose":                              {"unknown flag: --verbose", "usage: kuairelay COMMAND"},
		"help nope":                              {`no command "nope"`, "usage: kuairelay help"},
		"help serve nope":                        {`no command "serve nope"`},
		"completion nope":                        {`no command "nope"; it has bash, `, "usage: kuairelay completion"},
		"notices list":                           {`no command "list"; it has test`, "usage: kuairelay notices COMMAND"},
		"serve":                                  {"-c FILE", "usage: kuairelay serve -c FILE"},
		"serve -c":                               {"needs an argument"},
		"serve config.yaml":                      {`does not take the argument "config.yaml"`},
		"serve -c x --nope":                      {"unknown flag: --nope"},
		"serve -c x --log-level loud":            {"--log-level", "must be debug, info, warn or error"},
		"serve -c x --log-format xml":            {"--log-format", "must be console or json"},
		"serve -c x --grace 5":                   {"--grace", "missing unit"},
		"serve -c x --grace -5s":                 {"--grace must not be negative"},
		"migrate":                                {"-c FILE", "usage: kuairelay migrate -c FILE"},
		"migrate -c":                             {"needs an argument"},
		"migrate config.yaml":                    {`does not take the argument "config.yaml"`},
		"check":                                  {"check needs FILE", "usage: kuairelay check FILE"},
		"check a b":                              {`does not take the argument "b"`},
		"check a -o xml":                         {"must be text or json"},
		"send a b":                               {`does not take the argument "b"`},
		"send --to localhost:8080":               {"--to must be an http or https URL"},
		"send -n 0":                              {"--count must be at least 1"},
		"send --rate -1":                         {"--rate must not be negative"},
		"send --rate NaN":                        {"--rate"},
		"send --concurrency 0":                   {"--concurrency must be at least 1"},
		"send --waybills 0":                      {"--waybills must be at least 1"},
		"send --items 0":                         {"--items must be at least 1"},
		"send --duplicates 1.5":                  {"--duplicates must be from 0 to 1"},
		"send --duplicates NaN":                  {"--duplicates"},
		"send --encoding xml":                    {"--encoding must be all, json"},
		"send --encoding object --items 2":       {"object holds one item"},
		"send --brand=":                          {"--brand must not be empty"},
		"send cb.json --waybills 3":              {"--waybills", "does not go with FILE"},
		"send --content-type text/plain":         {"--content-type goes with FILE"},
		"listen 9000":                            {`does not take the argument "9000"`},
		"listen --status 100":                    {"--status must be from 200 to 599"},
		"listen --delay -1s":                     {"--delay must not be negative"},
		"listen --fail-rate 2":                   {"--fail-rate must be from 0 to 1"},
		"listen --secret hunter2hunter2":         {"--secret: secret does not begin with whsec_"},
		"sign --secret whsec_%%%":                {"--secret: secret is not base64"},
		"sign --timestamp -1 --secret " + secret: {"--timestamp must not be negative"},
		"sign a b --secret " + secret:            {`does not take the argument "b"`},
		"verify --secret " + secret:              {"--id, --timestamp and --signature, or --header"},
		"verify -H nonsense --secret " + secret:  {"--header must be 'NAME: VALUE'"},
		"verify --tolerance -1s --id a --secret " + secret: {"--tolerance must not be negative"},
		"demo now":                         {`does not take the argument "now"`},
		"demo --log-level all":             {"must be debug, info, warn or error"},
		"healthcheck --url 127.0.0.1:8080": {"--url must be an http or https URL"},
		"version 2":                        {`does not take the argument "2"`},
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := run(t, "", strings.Fields(args)...)
			if code != 2 || stdout != "" {
				t.Errorf("exit %d, stdout %q", code, stdout)
			}
			for _, w := range append(want, "kuairelay: ", "\nusage: kuairelay ") {
				if !strings.Contains(stderr, w) {
					t.Errorf("no %q in:\n%s", w, stderr)
				}
			}
			if strings.Contains(stderr, "hunter2") || strings.Contains(stderr, "whsec_%") {
				t.Errorf("it repeats a secret:\n%s", stderr)
			}
		})
	}
}

func TestNoGroupOfCommandsTakesANameThatItHasNot(t *testing.T) {
	t.Parallel()
	groups := 0
	for _, c := range cli.Commands().Commands() {
		if !c.HasSubCommands() {
			continue
		}
		groups++
		if code, stdout, stderr := run(t, "", c.Name(), "nope"); code != 2 || stdout != "" {
			t.Errorf("%s nope: exit %d\n%s%s", c.Name(), code, stdout, stderr)
		}
	}
	if groups < 5 {
		t.Errorf("only %d groups: are they found?", groups)
	}
}

func TestEveryCommandHasHelpWithAnExample(t *testing.T) {
	t.Parallel()
	listed := regexp.MustCompile(`(?m)^  ([a-z][a-z-]+) +[A-Z]`) // a command in the help of the one above it
	seen := 0
	var look func(path []string)
	look = func(path []string) {
		for _, args := range [][]string{append(slices.Clone(path), "--help"), append([]string{"help"}, path...)} {
			code, stdout, stderr := run(t, "", args...)
			if code != 0 || stderr != "" {
				t.Errorf("%v: exit %d\n%s%s", args, code, stdout, stderr)
			}
			commands := listed.FindAllStringSubmatch(stdout, -1)
			if args[0] == "help" {
				for _, m := range commands {
					if m[1] != "help" && m[1] != "completion" && len(path) < 2 {
						look(append(slices.Clone(path), m[1]))
					}
				}
			}
			if len(path) > 0 && !strings.Contains(stdout, "Examples:\n  kuairelay "+strings.Join(path, " ")) {
				t.Errorf("%v: no example\n%s", args, stdout)
			}
		}
		seen++
	}
	look(nil)
	if seen < 30 {
		t.Errorf("only %d commands: are they found?", seen)
	}

	code, stdout, _ := run(t, "")
	if code != 0 || !strings.Contains(stdout, "kuairelay demo") {
		t.Errorf("without arguments: exit %d\n%s", code, stdout)
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if code, stdout, _ := run(t, "", "completion", shell); code != 0 || !strings.Contains(stdout, "kuairelay") {
			t.Errorf("completion %s: exit %d", shell, code)
		}
	}
}

func TestHelpDoesNotShowWhatIsInTheEnvironment(t *testing.T) {
	t.Setenv("SHOP_SECRET", other)
	t.Setenv("KUAIRELAY_CALLBACK_TOKEN", "a-token-of-mine")
	for _, name := range []string{"send", "listen", "sign", "verify"} {
		_, stdout, _ := run(t, "", name, "--help")
		if strings.Contains(stdout, other) || strings.Contains(stdout, "a-token-of-mine") {
			t.Errorf("%s --help:\n%s", name, stdout)
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	code, stdout, _ := run(t, "", "version")
	if code != 0 || !strings.HasPrefix(stdout, "kuairelay ") || !strings.Contains(stdout, "(go1.") {
		t.Errorf("exit %d: %s", code, stdout)
	}
	_, stdout, _ = run(t, "", "version", "-o", "json")
	if v := parse[map[string]string](t, stdout); v["version"] == "" || v["go"] == "" || v["os"] == "" || v["arch"] == "" {
		t.Errorf("%s", stdout)
	}
}
