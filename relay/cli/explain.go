package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kuairelay/relay"
	"kuairelay/relay/api"
	"kuairelay/relay/event"
)

func newExplain() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "explain [-c FILE] [EVENT.json]",
		Short:   "Say which endpoints an event would go to, and why",
		GroupID: groupRelay,
		Long: "Says for every endpoint whether an event would go there, and how each route decides. The event is one\n" +
			"item of a callback as JSON, or a whole callback as kuaidihelp sends it, from EVENT.json or stdin.\n" +
			"Nothing is sent.\n\n" +
			"With -c the routes are those of a config. The command then cannot know subscriptions or earlier\n" +
			"statuses: for routes that depend on them it prints the condition. Without -c it asks a running relay\n" +
			"for its routes, and for what is subscribed and known today.\n\n" +
			"With --waybill the events are those of a waybill that a running relay has seen. The answer then also\n" +
			"says what became of each.",
		Example: "  kuairelay explain -c config.yaml event.json\n" +
			"  kuairelay explain --url http://127.0.0.1:8081 event.json\n" +
			"  kuairelay explain -c config.yaml --waybill 777005949070187\n" +
			"  echo '{\"waybill_code\":\"77\",\"cp_code\":\"sto\",\"status\":\"signed\"}' | kuairelay explain -c config.yaml",
		Args: takes(0, 1, "EVENT.json"),
	}

	file := cmd.Flags().StringP("config", "c", "", "the config `FILE`; without it a running relay is asked")
	code := cmd.Flags().String("waybill", "",
		"a waybill's `CODE`, or the id of one event, evt_…, to be asked of a running relay")

	flags := addAPIFlags(cmd)
	output := outputFlag(cmd)

	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *code != "" && len(args) > 0 {
			return usagef("either --waybill or EVENT.json says which event")
		}

		explain := explainByRelay
		if *file != "" {
			c, err := loadConfig(*file)
			if err != nil {
				return err
			}
			explainer, err := relay.NewExplainer(c)
			if err != nil {
				return fmt.Errorf("%s: %w", *file, err)
			}
			explain = explainBy(explainer)
		}

		all, err := explain(cmd, flags, *code, strings.Join(args, ""))
		if err != nil {
			return err
		}

		if output.isJSON() {
			return writeJSON(cmd.OutOrStdout(), all, "  ")
		}

		for _, x := range all {
			printExplained(cmd.OutOrStdout(), x)
		}
		return nil
	}
	return cmd
}

// explainBy explains by the routes of a config: the events of a waybill that a running relay has seen, or those of the
// input.
func explainBy(explainer *relay.Explainer) func(*cobra.Command, *apiFlags, string, string) ([]api.Explained, error) {
	return func(cmd *cobra.Command, flags *apiFlags, code, file string) (all []api.Explained, err error) {
		if code != "" {
			return explainWaybill(cmd.Context(), explainer, flags, code)
		}
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
}

// explainByRelay has a running relay explain by its own routes.
func explainByRelay(cmd *cobra.Command, flags *apiFlags, code, file string) ([]api.Explained, error) {
	c, err := flags.client()
	if err != nil {
		return nil, err
	}
	body := map[string]any{}
	switch {
	case strings.HasPrefix(code, "evt_"):
		body["event_id"] = code
	case code != "":
		body["waybill_code"] = code
	default:
		text, err := readInput(cmd, file)
		if err != nil {
			return nil, err
		}
		if len(text) == 0 {
			return nil, errors.New("the event cannot be understood: the body is empty")
		}
		body["callback"] = text
	}

	var out api.Explanations
	if err := c.post(cmd.Context(), "/explain", body, &out); err != nil {
		return nil, fmt.Errorf("%w (with -c FILE, explain needs no relay)", err)
	}
	if len(out.Rejected) > 0 {
		return nil, fmt.Errorf("the event cannot be understood: %s", out.Rejected[0])
	}
	if out.EventsLeft > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "the relay explains %s, and leaves out %d\n",
			plural(len(out.Events), "event"), out.EventsLeft)
	}
	return out.Events, nil
}

// explainWaybill explains the events of a waybill that a running relay has seen.
func explainWaybill(
	ctx context.Context, explainer *relay.Explainer, flags *apiFlags, code string,
) (all []api.Explained, err error) {
	c, err := flags.client()
	if err != nil {
		return nil, err
	}

	w, err := c.waybill(ctx, code, "")
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

func explainEvent(e *event.Event, all []relay.Explanation) api.Explained {
	x := api.Explained{
		ID: e.ID, Type: e.Type, WaybillCode: e.WaybillCode, CPCode: e.CPCode, Status: e.Status,
		Endpoints: []api.ExplainedEndpoint{},
	}
	for _, ex := range all {
		ep := api.ExplainedEndpoint{Endpoint: ex.Endpoint, Owed: ex.Owed, Routes: []api.ExplainedRoute{}}
		for _, r := range ex.Routes {
			ep.Routes = append(ep.Routes, api.ExplainedRoute{At: r.Pos, Matches: r.Matched, If: r.If, Why: r.Why})
		}
		x.Endpoints = append(x.Endpoints, ep)
	}
	return x
}

// printExplained writes the endpoints that the event goes to first, and then the others.
func printExplained(w io.Writer, x api.Explained) {
	fmt.Fprintf(w, "%s  waybill %s  brand %s  status %s\n",
		printable(x.Type), printable(x.WaybillCode), printable(x.CPCode), printable(x.Status))
	if d := x.DuplicateOf; d != nil {
		fmt.Fprintf(w, "It would be dropped as a duplicate of %s, accepted at %s.\n",
			printable(d.ID), d.AcceptedAt.Format(time.RFC3339))
	}

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
				if r.Matches && r.Today != api.No || !ep.Owed {
					fmt.Fprintf(w, "         %s: %s\n", printable(r.At), printable(r.Why))
				}
			}
		}
	}

	if x.EndpointsLeft > 0 {
		fmt.Fprintf(w, "  and %s more\n", plural(x.EndpointsLeft, "endpoint"))
	}
	if owed == 0 {
		fmt.Fprintln(w, "Nobody gets it: the relay would keep it for its retention, and count it as unrouted.")
	}
}
