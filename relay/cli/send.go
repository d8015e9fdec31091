package cli

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/kuaidihelp/fake"
)

const (
	// tokenVariable is where config.example.yaml looks for the callback's token, exampleToken what it takes otherwise.
	tokenVariable = "KUAIRELAY_CALLBACK_TOKEN"
	exampleToken  = "change-me-please"
	allEncodings  = "all"
	// callbackUsage is the help of a flag for the callback's URL; without it that of exampleCallback is meant.
	callbackUsage = "the callback `URL` (default http://127.0.0.1:8080/callback/ and " + tokenVariable +
		" or the example's token)"
)

// sendOptions are the flags of `send`.
type sendOptions struct {
	to          string
	count       int
	rate        float64
	concurrency int
	ack         string
	contentType string
	seed        uint64

	waybills, items  int
	brands, statuses []string
	duplicates       float64
	encoding         string
}

func newSend() *cobra.Command {
	var o sendOptions
	cmd := &cobra.Command{
		Use:     "send [FILE]",
		Short:   "Play kuaidihelp: push callbacks to a relay",
		GroupID: groupTools,
		Long: "Makes up parcels and pushes their updates as kuaidihelp would. With FILE (- is stdin) it pushes the\n" +
			"content of the file as it is. Updates of one parcel are pushed in order. Exits with 1 unless every\n" +
			"callback was answered 200 success.",
		Example: "  kuairelay send                                   # 10 callbacks to the relay of config.example.yaml\n" +
			"  kuairelay send -n 10000 --rate 500 --waybills 2000 --encoding all --duplicates 0.05\n" +
			"  kuairelay send --brand zt --status signed --to https://relay.example.com/callback/TOKEN\n" +
			"  kuairelay send callback.json -n 2                # the second one is a duplicate",
		Args: takes(0, 1, "FILE"),
	}

	f := cmd.Flags()
	f.StringVar(&o.to, "to", "", callbackUsage)
	f.IntVarP(&o.count, "count", "n", 0, "how many callbacks (default 10; with FILE 1)")
	f.Float64Var(&o.rate, "rate", 0, "callbacks per second; 0: as fast as possible")
	f.IntVar(&o.concurrency, "concurrency", 8, "requests at the same time, at most; of one parcel one")
	f.StringVar(&o.ack, "ack", "success", "the answer that counts as accepted (callback.ack)")
	f.StringVar(&o.contentType, "content-type", "", "of FILE (default: by what it looks like)")
	f.Uint64Var(&o.seed, "seed", 0, "make up the same parcels as the run with this seed; 0: new ones")
	f.IntVar(&o.waybills, "waybills", 0, "parcels under way at the same time (default: a fifth of --count)")
	f.IntVar(&o.items, "items", 1, "updates per callback")
	f.StringArrayVar(&o.brands, "brand", nil, "the `CODE` of the parcels' brand, like zt; repeatable (default: all known)")
	f.StringArrayVar(&o.statuses, "status", nil,
		"the `STATUS` of every update, like signed; repeatable (default: a parcel's journey)")
	f.Float64Var(&o.duplicates, "duplicates", 0, "this share of the callbacks, from 0 to 1, repeats one before")
	f.StringVar(&o.encoding, "encoding", fake.JSON, strings.Join(fake.Encodings(), ", ")+"; or all, in turn")
	output := outputFlag(cmd)

	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		target, err := o.check(len(args) > 0, f.Changed)
		if err != nil {
			return err
		}

		// The content of FILE is pushed as it is; without FILE the callbacks are made up.
		s := newSender(o, target)
		if len(args) > 0 {
			body, err := readInput(cmd, args[0])
			if err != nil {
				return err
			}
			s.repeat(callback{contentType: cmp.Or(o.contentType, guessType(body)), body: body})
		}

		sum := s.run(cmd.Context(), newScreen(cmd.ErrOrStderr()))
		if output.isJSON() {
			err = writeJSON(cmd.OutOrStdout(), sum, "  ")
		} else {
			err = sum.print(cmd.OutOrStdout())
		}

		if err == nil && sum.Failed > 0 {
			err = errSaid
		}
		return err
	}
	return cmd
}

// check sets defaults, and returns the callback's URL, or an error if an option is wrong.
func (o *sendOptions) check(file bool, given func(flag string) bool) (*url.URL, error) {
	if file {
		for _, name := range []string{"seed", "waybills", "items", "brand", "status", "duplicates", "encoding"} {
			if given(name) {
				return nil, usagef("--%s is about callbacks that are made up: it does not go with FILE", name)
			}
		}
	}

	if !given("count") {
		o.count = 10
		if file {
			o.count = 1
		}
	}
	if !given("waybills") {
		o.waybills = min(max(o.count/5, 1), 100_000)
	}

	encodings := strings.Join(fake.Encodings(), ", ")
	for _, c := range []struct {
		holds bool
		rule  string
	}{
		{file || !given("content-type"), "--content-type goes with FILE only"},
		{o.count >= 1, "--count must be at least 1"},
		{o.rate >= 0, "--rate must not be negative"},
		{o.concurrency >= 1, "--concurrency must be at least 1"},
		{o.waybills >= 1, "--waybills must be at least 1"},
		{o.items >= 1, "--items must be at least 1"},
		{o.duplicates >= 0 && o.duplicates <= 1, "--duplicates must be from 0 to 1"},
		{!slices.Contains(o.brands, ""), "--brand must not be empty; known are " + strings.Join(kuaidihelp.Brands(), ", ")},
		{o.encoding == allEncodings || slices.Contains(fake.Encodings(), o.encoding), "--encoding must be all, " + encodings},
		{o.encoding != fake.Object || o.items == 1, "--encoding object holds one item: it does not go with more --items"},
	} {
		if !c.holds {
			return nil, usageError(c.rule)
		}
	}

	if o.to == "" {
		o.to = exampleCallback()
	}
	return httpURL("--to", o.to)
}

// exampleCallback is where the relay of config.example.yaml takes callbacks.
func exampleCallback() string {
	return "http://127.0.0.1:8080/callback/" + url.PathEscape(cmp.Or(os.Getenv(tokenVariable), exampleToken))
}

// guessType returns the content type that a body looks like.
func guessType(body []byte) string {
	head := strings.TrimSpace(string(body[:min(len(body), 100)]))
	switch {
	case strings.HasPrefix(head, "{"), strings.HasPrefix(head, "["):
		return "application/json"
	case strings.HasPrefix(head, "--"):
		boundary, _, _ := strings.Cut(head[2:], "\n")
		return "multipart/form-data; boundary=" + strings.TrimSpace(boundary)
	}
	return "application/x-www-form-urlencoded"
}

// sent is the result of a run of `send`.
type sent struct {
	To         string         `json:"to"` // without what may be secret
	Sent       int            `json:"sent"`
	Repeats    int            `json:"repeats"` // of Sent: callbacks that were sent before
	Updates    int            `json:"updates"` // items of all callbacks, 0 for a FILE
	Accepted   int            `json:"accepted"`
	Failed     int            `json:"failed"`
	Failures   map[string]int `json:"failures"` // by what was answered
	Seconds    float64        `json:"seconds"`
	Rate       float64        `json:"rate"` // callbacks per second
	P50        float64        `json:"p50_ms"`
	P99        float64        `json:"p99_ms"`
	Max        float64        `json:"max_ms"`
	Seed       uint64         `json:"seed,omitempty"`
	Unfinished int            `json:"unfinished,omitempty"` // not sent, or not answered: it was interrupted

	took []time.Duration
}

// add counts one answer.
func (s *sent) add(c callback, failure string, took time.Duration) {
	s.Sent++
	s.Updates += c.items
	s.took = append(s.took, took)
	if c.repeat {
		s.Repeats++
	}

	if failure == "" {
		s.Accepted++
		return
	}

	s.Failed++
	s.Failures[failure]++
}

// finish computes the figures that need all answers.
func (s *sent) finish(elapsed time.Duration) {
	s.Seconds = elapsed.Round(time.Millisecond).Seconds()
	s.Rate = math.Round(10*float64(s.Accepted)/max(elapsed, time.Millisecond).Seconds()) / 10
	slices.Sort(s.took)
	s.P50 = milliseconds(quantile(s.took, 0.5))
	s.P99 = milliseconds(quantile(s.took, 0.99))
	s.Max = milliseconds(quantile(s.took, 1))
}

// quantile returns the q-quantile (0 to 1) of sorted values; 0 if there are none.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// hints name the most likely cause of a failure.
var hints = map[string]string{
	"404 Not Found":                "the last segment of --to must be one of the relay's callback.tokens",
	"connection refused":           "is the relay running? kuairelay serve -c config.example.yaml",
	"503 Service Unavailable":      "the relay could not write it down; its log says why",
	"413 Request Entity Too Large": "callback.max_body of the relay's config",
	failureAck:                     "is this a relay? Its callback.ack may be another (--ack)",
}

func (s *sent) print(w io.Writer) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-9s "+format+"\n", append([]any{name}, args...)...)
	}

	what := ""
	if s.Repeats > 0 {
		what = fmt.Sprintf(" (%s)", plural(s.Repeats, "repeat"))
	}
	if s.Updates > 0 {
		what += " with " + plural(s.Updates, "update")
	}

	line("sent", "%s%s to %s", plural(s.Sent, "callback"), what, s.To)
	if s.Unfinished > 0 {
		line("", "interrupted: %d more were not sent, or not answered", s.Unfinished)
	}

	line("accepted", "%d", s.Accepted)
	line("failed", "%d", s.Failed)
	for _, failure := range sortedKeys(s.Failures) {
		line("", "%d  %s", s.Failures[failure], failure)
		if hint := hints[failure]; hint != "" {
			line("", "   %s", hint)
		}
	}

	line("took", "%s, %.0f a second; answers p50 %.1f ms, p99 %.1f ms, max %.1f ms",
		time.Duration(s.Seconds*float64(time.Second)).Round(time.Millisecond), s.Rate, s.P50, s.P99, s.Max)
	if s.Seed != 0 {
		line("seed", "%d (--seed %d makes up the same parcels)", s.Seed, s.Seed)
	}

	_, err := io.WriteString(w, b.String())
	return err
}

func sortedKeys[K ~string, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// redact returns a callback's URL without its token.
func redact(u *url.URL) string {
	shown := url.URL{Scheme: u.Scheme, Host: u.Host}

	before, last, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	if last != "" {
		return shown.String() + "/" + before + "/…"
	}
	return shown.String() + "/…"
}

// httpClient returns a client that keeps as many connections as there are requests at the same time. Like the relay,
// it ignores HTTP_PROXY: keys and tokens are for the relay alone.
func httpClient(concurrency int, timeout time.Duration) *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = nil
	t.MaxIdleConns = concurrency
	t.MaxIdleConnsPerHost = concurrency
	return &http.Client{Transport: t, Timeout: timeout}
}
