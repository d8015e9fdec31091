package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"kuairelay/relay"
	"kuairelay/relay/event"
)

// explained is what `explain -o json` prints of one event.
type explained struct {
	ID          string              `json:"id"`
	Type        string              `json:"type"`
	WaybillCode string              `json:"waybill_code,omitempty"`
	CPCode      string              `json:"cp_code,omitempty"`
	Status      string              `json:"status,omitempty"`
	Endpoints   []explainedEndpoint `json:"endpoints"`
}

type explainedEndpoint struct {
	Endpoint string           `json:"endpoint"`
	Owed     bool             `json:"owed"`
	State    string           `json:"state,omitempty"` // of the delivery, where a relay has one
	Routes   []explainedRoute `json:"routes"`
}

type explainedRoute struct {
	At      string `json:"at"` // file:line
	Matches bool   `json:"matches"`
	Why     string `json:"why"`
}

func newExplain() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "explain -c FILE [EVENT.json]",
		Short:   "Say which endpoints an event would go to, and why",
		GroupID: groupRelay,
		Long: "Says for every endpoint in a config whether an event would go there, and how each route decides. The\n" +
			"event is one item of a callback as JSON, or a whole callback as kuaidihelp sends it, from EVENT.json\n" +
			"or stdin. Nothing is sent. The command cannot know subscriptions or earlier statuses: for routes\n" +
			"that depend on them it prints the condition.\n\n" +
			"With --waybill the events are those of a waybill that a running relay has seen. The answer then also\n" +
			"says what became of each.",
		Example: "  kuairelay explain -c config.yaml event.json\n" +
			"  kuairelay explain -c config.yaml --waybill 777005949070187\n" +
			"  echo '{\"waybill_code\":\"77\",\"cp_code\":\"sto\",\"status\":\"signed\"}' | kuairelay explain -c config.yaml",
		Args: takes(0, 1, "EVENT.json"),
	}

	file := cmd.Flags().StringP("config", "c", "", "the config `FILE`")
	code := cmd.Flags().String("waybill", "",
		"a waybill's `CODE`, or the id of one event, evt_…, to be asked of a running relay")

	flags := addAPIFlags(cmd)
	output := outputFlag(cmd)

	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case *file == "":
			return usagef("explain needs the config whose routes it explains: -c FILE")
		case *code != "" && len(args) > 0:
			return usagef("either --waybill or EVENT.json says which event")
		}

		c, err := loadConfig(*file)
		if err != nil {
			return err
		}
		explainer, err := relay.NewExplainer(c)
		if err != nil {
			return fmt.Errorf("%s: %w", *file, err)
		}

		// The events are those that a relay has seen, or those of the input.
		var all []explained
		if *code != "" {
			all, err = explainWaybill(cmd.Context(), explainer, flags, *code)
		} else {
			all, err = explainInput(cmd, explainer, strings.Join(args, ""))
		}
		if err != nil {
			return err
		}

		if output.isJSON() {
			return writeJSON(cmd.OutOrStdout(), all, "  ")
		}

		for _, x := range all {
			x.print(cmd.OutOrStdout())
		}
		return nil
	}
	return cmd
}

// explainInput explains the events of a file, or of stdin.
func explainInput(cmd *cobra.Command, explainer *relay.Explainer, file string) (all []explained, err error) {
	text, err := readInput(cmd, file)
	if err != nil {
		return nil, err
	}
	events, err := relay.ReadEvents(text)
	for _, e := range events {
		all = append(all, explainEvent(e, explainer.Explain(e)))
	}
	return all, err
}

// explainWaybill explains the events of a waybill that a running relay has seen.
func explainWaybill(
	ctx context.Context, explainer *relay.Explainer, flags *apiFlags, code string,
) (all []explained, err error) {
	c, err := flags.client()
	if err != nil {
		return nil, err
	}

	w, err := c.waybill(ctx, code)
	for _, e := range w.Events {
		past := relay.EventOf(e)

		x := explainEvent(past, explainer.ExplainPast(past, relay.PastOf(e, w, c.tenant)))

		// The state of each delivery is shown beside what the routes say.
		for _, d := range e.Deliveries {
			for i := range x.Endpoints {
				if ep := &x.Endpoints[i]; ep.Endpoint == d.Endpoint {
					ep.State = string(d.State)
				}
			}
		}

		all = append(all, x)
	}
	return all, err
}

func explainEvent(e *event.Event, all []relay.Explanation) explained {
	x := explained{
		ID: e.ID, Type: e.Type, WaybillCode: e.WaybillCode, CPCode: e.CPCode, Status: e.Status,
		Endpoints: []explainedEndpoint{},
	}
	for _, ex := range all {
		ep := explainedEndpoint{Endpoint: ex.Endpoint, Owed: ex.Owed, Routes: []explainedRoute{}}
		for _, r := range ex.Routes {
			ep.Routes = append(ep.Routes, explainedRoute{At: r.Pos, Matches: r.Matched, Why: r.Why})
		}
		x.Endpoints = append(x.Endpoints, ep)
	}
	return x
}

// print writes the endpoints that the event goes to first, and then the others.
func (x explained) print(w io.Writer) {
	fmt.Fprintf(w, "%s  waybill %s  brand %s  status %s\n",
		printable(x.Type), printable(x.WaybillCode), printable(x.CPCode), printable(x.Status))

	owed := 0
	for _, wanted := range []bool{true, false} {
		for _, ep := range x.Endpoints {
			if ep.Owed != wanted {
				continue
			}

			word := "no "
			if ep.Owed {
				word = "yes"
				owed++
			}

			line := word + "  " + ep.Endpoint
			if ep.State != "" {
				line += ", is " + ep.State
			}

			fmt.Fprintf(w, "  %s\n", printable(line))
			if len(ep.Routes) == 0 {
				fmt.Fprintln(w, "         no route leads there")
			}

			// If the endpoint is owed the event, only the routes that match are shown.
			for _, r := range ep.Routes {
				if r.Matches || !ep.Owed {
					fmt.Fprintf(w, "         %s: %s\n", r.At, printable(r.Why))
				}
			}
		}
	}

	if owed == 0 {
		fmt.Fprintln(w, "Nobody gets it: the relay would keep it for its retention, and count it as unrouted.")
	}
}
