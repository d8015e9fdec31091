package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"kuairelay/relay"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/kuaidihelp/fake"
	"kuairelay/relay/signature"
)

// demoWait is how long the demo waits until everything has arrived. It takes well under a second.
const demoWait = 20 * time.Second

// demoToken is the token of the demo's callback URL, which only this machine can reach, and only while the demo runs.
const demoToken = "demo-token"

// demoAccount is the app_id of the account that the tenants of the demo share.
const demoAccount = "50001"

func newDemo() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "demo",
		Short:   "See the whole relay at work, in one process",
		GroupID: groupTools,
		Long: "Runs a relay with an embedded Redis, two tenants that subscribe parcels and verify every signature,\n" +
			"and a played kuaidihelp. That takes the subscriptions and pushes three parcels through all statuses\n" +
			"in all encodings. One callback comes twice, one delivery is refused at first, and one parcel is\n" +
			"subscribed late. Prints every delivery as it arrives, and exits with 1 if anything did not arrive as\n" +
			"promised. On a terminal it then goes on serving until Ctrl-C, with an update every two seconds, and\n" +
			"prints where the pages are.",
		Example: "  kuairelay demo --once",
		Args:    takes(0, 0, ""),
	}

	once := cmd.Flags().Bool("once", false, "end after the summary")
	level := logLevelFlag(cmd, "", "show the relay's log from this level on (default: no log)")

	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		d := newDemoRun(newScreen(cmd.OutOrStdout()), demoWait)
		if level.value != "" {
			d.log = newLogger(cmd.ErrOrStderr(), "console", level.value)
			defer func() { _ = d.log.Sync() }()
		}

		d.stay = !*once && d.out.terminal
		return d.run(cmd.Context())
	}
	return cmd
}

// demoRun is one run of the demo.
type demoRun struct {
	out  *screen
	log  *zap.Logger
	wait time.Duration
	stay bool

	tenants       []*demoTenant
	provider      *fake.Provider
	account       string // the API key of the shared account
	token         string // the operator's
	api           string // the provider's address
	score         *scoreboard
	dir           string // is removed when the run ends
	public, admin string // base URLs of the relay
}

// demoTenant is an internal application, with one endpoint.
type demoTenant struct {
	name   string
	match  string // of its route, in YAML, after subscribed
	wants  func(status string) bool
	secret string
	key    string // for the API
	url    string
	// owed are the updates that it must get, and no others. The scoreboard's lock guards it.
	owed map[update]bool
}

func newDemoRun(out *screen, wait time.Duration) *demoRun {
	tenants := []*demoTenant{
		{name: "shop", wants: func(string) bool { return true }},
		{name: "alerts", match: ", status: [signed, question]", wants: func(status string) bool {
			return status == kuaidihelp.StatusSigned || status == kuaidihelp.StatusQuestion
		}},
	}

	for _, t := range tenants {
		t.secret = signature.NewSecret()
		t.key = rand.Text()
		t.owed = map[update]bool{}
	}

	return &demoRun{
		out:     out,
		log:     zap.NewNop(),
		wait:    wait,
		tenants: tenants,
		account: rand.Text(),
		token:   rand.Text(),
		score:   newScoreboard(out),
	}
}

// run starts the provider, the tenants and the relay, plays the demo, and stops everything again.
func (d *demoRun) run(ctx context.Context) (err error) {
	if d.dir, err = os.MkdirTemp("", "kuairelay-demo-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(d.dir) }()

	// The relay stops before the tenants and the provider, so that what it has under way can end.
	parts, stop := context.WithCancel(context.WithoutCancel(ctx))
	var partsEnded []<-chan error
	defer func() {
		stop()
		for _, ended := range partsEnded {
			err = errors.Join(err, <-ended)
		}
	}()

	ended, err := d.startProvider(parts)
	if err != nil {
		return err
	}
	partsEnded = append(partsEnded, ended)

	for _, t := range d.tenants {
		ended, err := d.startTenant(parts, t)
		if err != nil {
			return err
		}
		partsEnded = append(partsEnded, ended)
	}

	ctx, end := context.WithCancel(ctx)
	relayEnded, err := d.startRelay(ctx)
	if err != nil {
		end()
		return err
	}

	defer func() {
		end()
		err = errors.Join(err, <-relayEnded)
	}()

	return d.play(ctx)
}

// startProvider makes a kuaidihelp listen that takes subscriptions.
func (d *demoRun) startProvider(ctx context.Context) (<-chan error, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	d.api = baseURL(l.Addr()) + "/api"
	d.provider = fake.NewProvider(fake.Options{AppID: demoAccount, APIKey: d.account})
	ended := make(chan error, 1)
	go func() { ended <- serveUntil(ctx, l, d.provider) }()
	return ended, nil
}

// startTenant makes a tenant listen, and notes its address. The channel gives an error or nil when it has ended.
func (d *demoRun) startTenant(ctx context.Context, t *demoTenant) (<-chan error, error) {
	keys, err := parseKeys(t.name, []string{t.secret})
	if err != nil {
		return nil, err
	}

	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t.url = baseURL(l.Addr()) + "/hooks"

	r := &receiver{keys: keys,
		answer: func(got webhook) int { return d.score.answer(t, got) },
		show:   func(got webhook) { d.score.show(t, got) },
	}

	ended := make(chan error, 1)
	go func() { ended <- serveUntil(ctx, l, r) }()
	return ended, nil
}

// startRelay runs a relay with that config, and waits until it listens. The channel gives the relay's error when it
// has ended.
func (d *demoRun) startRelay(ctx context.Context) (<-chan error, error) {
	file := filepath.Join(d.dir, "config.yaml")
	if err := os.WriteFile(file, []byte(d.config()), 0o600); err != nil {
		return nil, err
	}

	c, err := loadConfig(file)
	if err != nil {
		return nil, err
	}

	listening := make(chan struct{})
	ended := make(chan error, 1)

	r, err := relay.New(relay.Options{
		Config:  c,
		Logger:  d.log,
		Version: currentVersion().Version,
		Grace:   5 * time.Second,
		OnListen: func(public, admin net.Addr) {
			d.public, d.admin = baseURL(public), baseURL(admin)
			close(listening)
		},
	})
	if err != nil {
		return nil, err
	}

	go func() { ended <- r.Run(ctx) }()

	// A relay that cannot listen ends at once.
	select {
	case <-listening:
		return ended, nil
	case err := <-ended:
		return nil, err
	}
}

// config returns the config, as the operator and the tenants' developers would write it.
func (d *demoRun) config() string {
	var b strings.Builder
	fmt.Fprintf(&b, `
server: {listen: "127.0.0.1:0"}
admin: {listen: "127.0.0.1:0", token: %s}
callback: {tokens: [%s]}
egress: {allow_cidrs: [127.0.0.0/8]}
kuaidihelp: {api_url: %q, app_id: %s, api_key: %s}
spool: {dir: %q}
delivery: {retry: [100ms, 200ms, 400ms, 800ms, 1600ms]}
tenants:
`, d.token, demoToken, d.api, demoAccount, d.account, filepath.Join(d.dir, "spool"))

	for _, t := range d.tenants {
		fmt.Fprintf(&b, `
  - name: %s
    api_keys: [%s]
    endpoints: [{name: hooks, url: %q, secrets: [%s]}]
    routes: [{to: hooks, match: {subscribed: true%s}}]
`, t.name, t.key, t.url, t.secret, t.match)
	}
	return b.String()
}
