package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"kuairelay/relay"
	"kuairelay/relay/config"
)

// labelValues are the values of the labels, by label, or by metric and label where it has values of its own there.
var labelValues = map[string]string{
	"endpoint":    "`TENANT/ENDPOINT`",
	"tenant":      "the tenant's name",
	"version":     "the version that runs",
	"token":       "its name or, without one, its place in the list",
	"fingerprint": "a hash of the config's files: replicas should show the same one",

	"kuairelay_attempt_duration_seconds endpoint": "`TENANT/ENDPOINT`; with more than 200 endpoints there is no label",
	"kuairelay_delivery_latency_seconds endpoint": "`TENANT/ENDPOINT`; with more than 200 endpoints there is no label",
	"kuairelay_attempts_total outcome": "`delivered`; `retry`: tried again later; `dead`: a dead letter; " +
		"`gone`: answered 410, the endpoint is parked",
	"kuairelay_breaker_changes_total state": "`open`, `closed`",
	"kuairelay_callbacks_total answer": "`success`; `failure`: neither Redis nor the spool could take it; " +
		"`no_room`: `limits.parse_bytes` is reached; `refused`: wrong token or address; `unread`: too large or cut off",
	"kuairelay_connections_refused_total listener": "`public`, `admin`",
	"kuairelay_deliveries_total outcome":           "`delivered`, `dead`",
	"kuairelay_endpoint_parked state": "`paused`: by a person; `gone`: it answered 410; " +
		"`open`: its breaker holds it back",
	"kuairelay_console_logins_total who":    "`operator`, `tenant`",
	"kuairelay_console_logins_total result": "`ok`, `wrong`, `limited`",
	"kuairelay_events_total result":         "`new`, `unrouted`, `duplicate`, `quarantined`",
	"kuairelay_notices_total format":        "`wecom`, `feishu`, `dingtalk`, `slack`, `webhook`",
	"kuairelay_notices_total result":        "`sent`, `failed`",
	"kuairelay_queue_depth state": "`open`: queued, retrying or leased; " +
		"`waiting`: behind an older update of the waybill; `dead`: dead letters",
	"kuairelay_redis_advice advice": "`no_aof`: no append-only file, or it is not flushed; " +
		"`evicting`: the policy at `maxmemory` is not `noeviction`; `old_version`: before 6.2; " +
		"`no_replicas`: Sentinel or Cluster without a replica; `few_replicas`: fewer than `redis.wait_replicas`; " +
		"`clock_skew`: more than 2 s; `unreadable`: INFO is not allowed; " +
		"`refuses_scripts`, `refuses_commands`: it takes no events before somebody sets it up in another way; " +
		"`other_form`: nor before `kuairelay migrate` has moved what another version has kept",
	"kuairelay_redis_state state": "`up`, `full`, `short`, `down`: one of them is 1",
	"kuairelay_spool_callbacks_total result": "`written`; `failed`: full, or not writable; `drained`: accepted later; " +
		"`adopted`: of another process; `quarantined`; `unreadable`: the file is broken",
	"kuairelay_subscribe_requests_total result": "`subscribed`, `already`, `pending`, `failed`; " +
		"`limited`, `invalid`, `error`: requests that were turned away",
	"kuairelay_subscriptions_lost_total reason": "`no_record`: there was none for as long as the schedule lasts; " +
		"`refused`: 201102 or 201103; `unanswered`: the last answers said nothing of the waybill",
	"kuairelay_subscriptions_stuck_total kind": "`not_collected`, `stalled`, `not_picked_up`",
	"kuairelay_reconciled_total result": "`missed`: news that no callback had brought; `unchanged`; `no_record`; " +
		"`error`: none, or one that is not understood",
	"kuairelay_refreshed_total result": "`missed`: news that no callback had brought; `unchanged`; `no_record`; " +
		"`error`: none, or one that is not understood",
	"kuairelay_tenant_refused_total limit": "`reads`, `acts`, `states`, `tests`, `explanations`, `subscriptions`",
	"kuairelay_upstream_calls_total answer": "`success`; `no_record`: of at least one waybill; `refused`; " +
		"`credentials`: the account's are refused; `no_answer`",
	"kuairelay_wrong_keys_total path": "`/callback`, `/api`, `/v1`, `/admin/v1`",
}

// metric is what a registry says of one.
type metric struct {
	name, kind, help string
	labels           []string
}

var description = regexp.MustCompile(
	`^Desc\{fqName: (".*"), help: (".*"), unit: ".*", constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)

// exampleRelay makes a relay of config.example.yaml, to be asked what it is. It does not run.
func exampleRelay() (*relay.Relay, error) {
	unset := func(string) (string, bool) { return "", false }
	c, err := config.Load(filepath.Join(top, "config.example.yaml"), config.Options{LookupEnv: unset})
	if err != nil {
		return nil, err
	}
	return relay.New(relay.Options{Config: c})
}

// metrics asks a relay for all its metrics, in the order of their names.
func metrics() ([]metric, error) {
	r, err := exampleRelay()
	if err != nil {
		return nil, err
	}
	descriptions := make(chan *prometheus.Desc)
	go func() {
		r.DescribeMetrics(descriptions)
		close(descriptions)
	}()

	var all []metric
	for d := range descriptions {
		m := description.FindStringSubmatch(d.String())
		if m == nil {
			return nil, fmt.Errorf("%s has another form than is known", d)
		}
		name, errName := strconv.Unquote(m[1])
		help, errHelp := strconv.Unquote(m[2])
		if err := errors.Join(errName, errHelp); err != nil {
			return nil, err
		}
		if !strings.HasPrefix(name, "kuairelay_") {
			continue
		}
		x := metric{name: name, kind: "gauge", help: help}
		for label := range strings.SplitSeq(m[3]+","+m[4], ",") {
			if label, _, _ = strings.Cut(label, "="); label != "" {
				x.labels = append(x.labels, label)
			}
		}
		switch {
		case strings.HasSuffix(name, "_total"):
			x.kind = "counter"
		case strings.HasSuffix(name, "_duration_seconds"), strings.HasSuffix(name, "_latency_seconds"):
			x.kind = "histogram"
		}
		all = append(all, x)
	}
	slices.SortFunc(all, func(a, b metric) int { return strings.Compare(a.name, b.name) })
	return all, nil
}

// metricsPage makes docs/reference/metrics.md from the registry of a relay.
func metricsPage() (string, error) {
	all, err := metrics()
	if err != nil {
		return "", err
	}
	var w strings.Builder
	w.WriteString(intro("metrics"))
	for _, m := range all {
		fmt.Fprintf(&w, "\n### %s\n\n%s. %s\n", m.name, strings.ToUpper(m.kind[:1])+m.kind[1:], m.help)
		if len(m.labels) == 0 {
			continue
		}
		fmt.Fprint(&w, "\n| label | values |\n|---|---|\n")
		for _, label := range m.labels {
			values := labelValues[m.name+" "+label]
			if values == "" {
				values = labelValues[label]
			}
			if values == "" {
				return "", fmt.Errorf("%s: the values of label %s are to be said in test/docs", m.name, label)
			}
			fmt.Fprintf(&w, "| `%s` | %s |\n", label, cell(values))
		}
	}
	return w.String(), nil
}
