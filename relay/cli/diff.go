package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"kuairelay/relay"
	"kuairelay/relay/api"
	"kuairelay/relay/config"
	"kuairelay/relay/event"
)

// diffed is what `diff -o json` prints.
type diffed struct {
	Events  int           `json:"events"` // that were looked at
	Changes []changed     `json:"changes"`
	Totals  []changeTotal `json:"totals"`
	URLs    []string      `json:"urls"` // endpoints with another URL
}

// changed is an event that goes to other endpoints.
type changed struct {
	ID          string  `json:"id"`
	WaybillCode string  `json:"waybill_code,omitempty"`
	CPCode      string  `json:"cp_code,omitempty"`
	Status      string  `json:"status,omitempty"`
	Gained      []moved `json:"gained"`
	Lost        []moved `json:"lost"`
}

// moved is an endpoint that gets an event, or no longer gets it.
type moved struct {
	Endpoint string `json:"endpoint"`
	Only     string `json:"only,omitempty"` // if or unless something holds that only the store can decide
}

type changeTotal struct {
	Endpoint string `json:"endpoint"`
	Gained   int    `json:"gained"`
	Lost     int    `json:"lost"`
}

func newDiff() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "diff OLD NEW",
		Short:   "Show which real events would go elsewhere with another config",
		GroupID: groupRelay,
		Long: "Compares two config files by the events that a running relay has accepted recently, or by those of a\n" +
			"file. Shows which endpoints each event would go to by NEW but not by OLD, and by OLD but not by NEW.\n" +
			"Nothing is sent. The command cannot know subscriptions or earlier statuses: for routes that depend\n" +
			"on them it prints the condition, as in \"shop/orders if the tenant has subscribed the waybill\".\n\n" +
			"--events takes JSON: the output of `kuairelay events --data -o json`, or items and callbacks of\n" +
			"kuaidihelp.",
		Example: "  kuairelay diff config.yaml new.yaml\n" +
			"  kuairelay events --data -n 5000 -o json > events.json\n" +
			"  kuairelay diff --events events.json config.yaml new.yaml",
		Args: takes(2, 2, "OLD and NEW, two config files"),
	}

	flags := addAPIFlags(cmd)
	count := cmd.Flags().IntP("number", "n", 1000, "how many events, the latest")
	file := cmd.Flags().String("events", "", "a `FILE` of events, - for stdin, rather than those of a running relay")
	flags.runs(cmd, func(cmd *cobra.Command, c *client, args []string, asJSON bool) error {
		configs, explainers, err := loadBoth(args)
		if err != nil {
			return err
		}

		var events []*event.Event
		if *file != "" {
			events, err = readEvents(cmd, *file)
		} else {
			events, err = recentEvents(cmd, c, *count)
		}
		if err != nil {
			return err
		}

		d := diff(explainers, events)
		d.URLs = otherURLs(configs)

		if asJSON {
			return writeJSON(cmd.OutOrStdout(), d, "  ")
		}
		d.print(cmd.OutOrStdout())
		return nil
	})
	return cmd
}

// loadBoth loads two configs. The error has the mistakes of both.
func loadBoth(files []string) (configs [2]*config.Config, explainers [2]*relay.Explainer, err error) {
	var mistakes config.Mistakes
	for i, file := range files {
		// Mistakes of the first config do not hide those of the second.
		var found config.Mistakes
		if configs[i], err = loadConfig(file); errors.As(err, &found) {
			mistakes = append(mistakes, found...)
			continue
		}

		if err == nil {
			explainers[i], err = relay.NewExplainer(configs[i])
		}
		if err != nil {
			return configs, explainers, fmt.Errorf("%s: %w", file, err)
		}
	}

	if len(mistakes) > 0 {
		return configs, explainers, mistakes
	}
	return configs, explainers, nil
}

func recentEvents(cmd *cobra.Command, c *client, count int) (out []*event.Event, err error) {
	all, err := c.events(cmd.Context(), url.Values{}, count, true)
	for _, e := range all {
		out = append(out, relay.EventOf(e))
	}
	return out, err
}

// readEvents reads events from a file: JSON values one after the other, or lists of them.
func readEvents(cmd *cobra.Command, file string) (out []*event.Event, err error) {
	text, err := readInput(cmd, file)
	if err != nil {
		return nil, err
	}

	n := 0
	values := json.NewDecoder(bytes.NewReader(text))
	for {
		var value json.RawMessage
		if err := values.Decode(&value); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, fmt.Errorf("%s: behind event %d: %w", file, n, err)
		}

		list := []json.RawMessage{value}
		if value[0] == '[' {
			_ = json.Unmarshal(value, &list) // it was decoded, and is a list
		}

		for _, one := range list {
			n++

			// An event as the API shows it; anything else is an item or a callback of kuaidihelp.
			var shown api.Event
			if json.Unmarshal(one, &shown) == nil && strings.HasPrefix(shown.ID, "evt_") {
				out = append(out, relay.EventOf(shown))
				continue
			}

			events, err := relay.ReadEvents(one)
			if err != nil {
				return nil, fmt.Errorf("%s: event %d: %w", file, n, err)
			}
			out = append(out, events...)
		}
	}
}

// diff lists the events that the second of two configs sends elsewhere than the first.
func diff(x [2]*relay.Explainer, events []*event.Event) diffed {
	d := diffed{Events: len(events), Changes: []changed{}, Totals: []changeTotal{}}

	totals := map[string]*changeTotal{}
	total := func(endpoint string) *changeTotal {
		if totals[endpoint] == nil {
			totals[endpoint] = &changeTotal{Endpoint: endpoint}
		}
		return totals[endpoint]
	}

	for _, e := range events {
		c := changed{
			ID: e.ID, WaybillCode: e.WaybillCode, CPCode: e.CPCode, Status: e.Status, Gained: []moved{}, Lost: []moved{},
		}

		was, is := owed(x[0], e), owed(x[1], e)

		for _, endpoint := range sortedKeys(is) {
			if m, ok := gains(endpoint, was, is); ok {
				c.Gained = append(c.Gained, m)
				total(endpoint).Gained++
			}
		}

		// What is lost is what the old config gains over the new one.
		for _, endpoint := range sortedKeys(was) {
			if m, ok := gains(endpoint, is, was); ok {
				c.Lost = append(c.Lost, m)
				total(endpoint).Lost++
			}
		}

		if len(c.Gained)+len(c.Lost) > 0 {
			d.Changes = append(d.Changes, c)
		}
	}

	for _, endpoint := range sortedKeys(totals) {
		d.Totals = append(d.Totals, *totals[endpoint])
	}
	return d
}

// owed returns the endpoints that are owed an event, each with the condition that only the store can decide; empty:
// none.
func owed(x *relay.Explainer, e *event.Event) map[string]string {
	out := map[string]string{}
	for _, ex := range x.Explain(e) {
		if ex.Owed {
			out[ex.Endpoint] = ex.Condition()
		}
	}
	return out
}

// gains says whether an endpoint is owed an event after, but not before, and under which condition.
func gains(endpoint string, before, after map[string]string) (moved, bool) {
	was, owedBefore := before[endpoint]
	is := after[endpoint]
	switch {
	case owedBefore && (was == "" || was == is):
		return moved{}, false
	case is != "":
		return moved{Endpoint: endpoint, Only: "if " + is}, true
	case owedBefore:
		return moved{Endpoint: endpoint, Only: "unless " + was}, true
	}
	return moved{Endpoint: endpoint}, true
}

// otherURLs lists the endpoints that both configs have, with different URLs.
func otherURLs(configs [2]*config.Config) []string {
	urls := map[string]string{}
	out := []string{}
	for i, c := range configs {
		for _, t := range c.Tenants {
			for _, e := range t.Endpoints {
				if before, known := urls[e.ID]; i == 1 && known && before != e.URL {
					out = append(out, e.ID)
				}
				urls[e.ID] = e.URL
			}
		}
	}

	slices.Sort(out)
	return out
}

func (d diffed) print(w io.Writer) {
	names := func(all []moved) cell {
		var list []string
		for _, m := range all {
			list = append(list, strings.TrimSpace(m.Endpoint+" "+m.Only))
		}
		return column(strings.Join(list, ", "), 0)
	}

	out := newScreen(w)

	if len(d.Changes) > 0 {
		var rows [][]cell
		for _, c := range d.Changes {
			rows = append(rows, []cell{
				text("%s", c.WaybillCode), text("%s", c.CPCode), text("%s", c.Status),
				names(c.Gained), names(c.Lost), text("%s", c.ID),
			})
		}
		out.table("WAYBILL BRAND STATUS GAINED LOST EVENT", rows)
		fmt.Fprintln(w)
	}

	out.row(text("%d of %s would go elsewhere", len(d.Changes), plural(d.Events, "event")))
	for _, t := range d.Totals {
		out.row(text("  %s: %d gained, %d lost", t.Endpoint, t.Gained, t.Lost))
	}

	for _, endpoint := range d.URLs {
		out.row(text("  %s has another URL", endpoint))
	}
}
