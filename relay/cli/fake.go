package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"kuairelay/relay/deliver"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/kuaidihelp/fake"
)

// The variables and the account that a relay on a laptop has for a kuaidihelp that is played.
const (
	accountVariable, accountKeyVariable = "KUAIDIHELP_APP_ID", "KUAIDIHELP_API_KEY"
	laptopAccount, laptopKey            = "laptop", "laptop-account"
)

func newFake() *cobra.Command {
	var names []string
	for _, s := range fake.Scenarios() {
		names = append(names, string(s))
	}
	cmd := &cobra.Command{
		Use:     "fake",
		Short:   "Play kuaidihelp's API: take subscriptions, push updates, answer queries",
		GroupID: groupTools,
		Long: "Listens like kuaidihelp's API, takes subscriptions, and pushes the updates of those parcels to a relay,\n" +
			"until they are signed for. It answers queries (express.info.get), too. Start the relay with\n" +
			"KUAIDIHELP_API_URL and the account that this command prints. Parcels play the scenarios of --scenario in\n" +
			"turn:\n\n" +
			"  plain      every update is pushed\n" +
			"  no-record  the first two calls to subscribe it are answered 201101, no record yet\n" +
			"  lost-push  one update is not pushed; a query has it (subscriptions.reconcile)\n" +
			"  returned   it moves again after it was signed for\n" +
			"  silent     it is collected and sent, and then nothing is heard of it",
		Example: "  kuairelay fake                                   # pushes to the relay of config.example.yaml\n" +
			"  kuairelay fake --pause 1s --scenario no-record --scenario plain\n" +
			"  kuairelay fake --to https://relay.example.com/callback/TOKEN",
		Args: takes(0, 0, ""),
	}

	flags := cmd.Flags()
	address := flags.String("listen", "127.0.0.1:9002", "the `ADDRESS` of the API")
	to := flags.String("to", "", callbackUsage)
	pause := flags.Duration("pause", 5*time.Second, "between two updates of a parcel")
	scenarios := flags.StringArray("scenario", []string{string(fake.Plain)},
		"`WHAT` happens to parcels, in turn: "+strings.Join(names, ", ")+"; repeatable")

	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *pause < time.Millisecond {
			return usagef("--pause must be at least 1ms")
		}
		for _, s := range *scenarios {
			if !slices.Contains(names, s) {
				return usagef("--scenario %s is unknown; known are %s", s, strings.Join(names, ", "))
			}
		}
		target, err := httpURL("--to", cmp.Or(*to, exampleCallback()))
		if err != nil {
			return err
		}

		l, err := (&net.ListenConfig{}).Listen(cmd.Context(), "tcp", *address)
		if err != nil {
			return errors.New(deliver.PlainError(err))
		}
		p := newFakeRun(cmd.OutOrStdout(), target, *pause, *scenarios)
		fmt.Fprintf(cmd.ErrOrStderr(), "kuaidihelp is played at %s/api, and pushes to %s. Ctrl-C stops it.\n"+
			"Start the relay with this account:\n"+
			"  KUAIDIHELP_API_URL=%s/api %s=%s %s=%s kuairelay serve -c config.example.yaml\n",
			baseURL(l.Addr()), redact(target), baseURL(l.Addr()), accountVariable, p.appID, accountKeyVariable, p.shownKey)
		return p.run(cmd.Context(), l)
	}
	return cmd
}

// fakeRun is a run of `fake`.
type fakeRun struct {
	provider *fake.Provider
	appID    string
	shownKey string // the key, unless it is one of the environment

	mu  sync.Mutex
	out io.Writer
}

func newFakeRun(out io.Writer, target *url.URL, pause time.Duration, scenarios []string) *fakeRun {
	r := &fakeRun{out: out, appID: cmp.Or(os.Getenv(accountVariable), laptopAccount), shownKey: laptopKey}
	key := os.Getenv(accountKeyVariable)
	if key != "" {
		r.shownKey = "…"
	}
	subscribed := 0
	r.provider = fake.NewProvider(fake.Options{
		AppID: r.appID, APIKey: cmp.Or(key, laptopKey), Callback: target.String(), Pause: pause,
		Scenario: func(string) fake.Scenario {
			s := scenarios[subscribed%len(scenarios)]
			subscribed++
			return fake.Scenario(s)
		},
		OnCall: r.called,
		OnPush: r.pushed,
	})
	return r
}

// run serves the API and pushes updates until ctx ends.
func (r *fakeRun) run(ctx context.Context, l net.Listener) error {
	pushing, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- r.provider.Run(pushing) }()
	err := serveUntil(ctx, l, r.provider)
	stop()
	return errors.Join(err, <-ended)
}

// called prints a call and its answer.
func (r *fakeRun) called(c fake.Call, answer fake.Reply) {
	verb := map[string]string{kuaidihelp.MethodSubscribe: "subscribe", kuaidihelp.MethodQuery: "query"}[c.Method]
	result := fmt.Sprintf("%d %s", answer.Code, answer.Msg)
	r.line(cmp.Or(verb, c.Method), cmp.Or(strings.TrimSpace(c.CPCode+" "+strings.Join(c.Codes, ",")), "-"), result)
}

// pushed prints an update and the relay's answer.
func (r *fakeRun) pushed(item fake.Item, answer string) {
	verb := "push"
	if answer == "" {
		verb = "lost"
		answer = "not pushed"
	}
	r.line(verb, item.CPCode+" "+item.WaybillCode+" "+item.Status, answer)
}

func (r *fakeRun) line(verb, what, answer string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(r.out, "%s  %-9s  %-40s  %s\n", time.Now().Format(time.TimeOnly), verb, what, answer)
}
