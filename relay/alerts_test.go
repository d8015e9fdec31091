package relay_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"kuairelay/test/redisserver"
)

// exposed are all series of a relay that has had everything happen to it: the labels of each, by the name of its
// metric.
func exposed(t *testing.T) (series map[string][]map[string]string, text string) {
	t.Helper()
	endpoint := func(name string, status, failures int) string {
		x := newTenant(t, func(w http.ResponseWriter, _ int, _ received) {
			if status == 0 {
				answerTwice(t, w)
				return
			}
			w.WriteHeader(status)
		})
		return fmt.Sprintf("{name: %s, url: %q, secrets: [%s], retry: [1ms], breaker: {failures: %d}}", name, x.URL, secret,
			failures)
	}
	endpoints := []string{endpoint("good", 200, 0), endpoint("down", 503, 1), endpoint("gone", 410, 0),
		endpoint("refusing", 422, 0), endpoint("odd", 0, 0)}
	r := startAPI(t, withToken(redisserver.Start(t).URL())+fmt.Sprintf(`
admin: {token: %s}
tenants:
  - name: shop
    api_keys: [%s]
    limits: {tests: 1}
    endpoints: [%s]
    routes:
      - to: [good, down, gone, refusing, odd]
      - {to: good, when: 'event.data.nothing.like_it == 1'}
`, adminToken, shopKey, strings.Join(endpoints, ", ")))
	r.push("text/plain", "not a callback")
	r.push("application/json", callback(item("1", "collected", "2026-11-23 09:00:00")))
	ok[map[string]any](r, adminToken, "POST", "/admin/v1/endpoints/shop/good/pause", "")
	r.post("/v1/subscriptions", "application/json", "") // without a key
	r.plain(shopKey, "POST", "/v1/subscriptions", `{"cp_code":"zt","waybill_codes":["1"]}`)

	lines := regexp.MustCompile(`(?m)^(\w+)(?:\{(.*)\})? \S+$`)
	label := regexp.MustCompile(`(\w+)="((?:[^"\\]|\\.)*)"`)
	until(t, "everything has happened", func() bool {
		if series["kuairelay_tenant_refused_total"] == nil { // a second test event within a second is one too many
			r.plain(shopKey, "POST", "/v1/endpoints/good/test", "")
			r.plain(shopKey, "POST", "/v1/endpoints/good/test", "")
		}
		_, text = r.get(r.admin + "/metrics")
		series = map[string][]map[string]string{}
		for _, line := range lines.FindAllStringSubmatch(text, -1) {
			labels := map[string]string{}
			for _, l := range label.FindAllStringSubmatch(line[2], -1) {
				labels[l[1]] = l[2]
			}
			series[line[1]] = append(series[line[1]], labels)
		}
		return len(series["kuairelay_endpoint_parked"]) == 3 && series["kuairelay_redis_advice"] != nil &&
			series["kuairelay_breaker_changes_total"] != nil &&
			strings.Contains(text, `kuairelay_queue_depth{endpoint="shop/refusing",state="dead"} 1`) &&
			series["kuairelay_when_errors_total"] != nil &&
			series["kuairelay_endpoint_answers_twice"] != nil && series["kuairelay_tenant_refused_total"] != nil
	})
	return series, text
}

var (
	metricName = regexp.MustCompile(`\b((?:kuairelay|process|go)_\w+)\b(?:\{([^}]*)\})?`)
	matcher    = regexp.MustCompile(`(\w+)(=~|!~|!=|=)"([^"]*)"`)
	named      = regexp.MustCompile(`\b(?:by|on|ignoring|without) \(([^)]*)\)|\{\{ *(?:\$labels\.)?(\w+) *\}\}`)
)

// ofTheTarget are labels that Prometheus gives to all series of a process.
var ofTheTarget = []string{"job", "instance"}

// checkUse says what metrics, labels and values a piece of a rule or a dashboard names that there are not.
func checkUse(t *testing.T, place, text string, series map[string][]map[string]string) (metrics int) {
	t.Helper()
	known := slices.Clone(ofTheTarget)
	for _, m := range metricName.FindAllStringSubmatch(text, -1) {
		metrics++
		all := series[m[1]]
		if all == nil {
			t.Errorf("%s names %s, which no relay exposes", place, m[1])
			continue
		}
		for _, labels := range all {
			for name := range labels {
				known = append(known, name)
			}
		}
		for _, part := range matcher.FindAllStringSubmatch(m[2], -1) {
			name, operator, value := part[1], part[2], part[3]
			if slices.Contains(ofTheTarget, name) {
				continue
			}
			if operator[0] == '!' {
				value = ".*" // what there is not to be may well not be there
			}
			value = regexp.MustCompile(`\$\w+`).ReplaceAllString(value, ".*")
			if operator == "=" {
				value = regexp.QuoteMeta(value)
			}
			whole := regexp.MustCompile("^(?:" + value + ")$")
			if !slices.ContainsFunc(all, func(labels map[string]string) bool {
				v, has := labels[name]
				return has &&
					whole.MatchString(v)
			}) {
				t.Errorf("%s: there is no %s with %s", place, m[1], part[0])
			}
		}
	}
	for _, m := range named.FindAllStringSubmatch(text, -1) {
		for _, name := range strings.FieldsFunc(m[1]+m[2], func(c rune) bool { return c == ',' || c == ' ' }) {
			if !slices.Contains(known, name) {
				t.Errorf("%s: no metric in it has a label %s", place, name)
			}
		}
	}
	return metrics
}

type dashboard struct {
	Panels []struct {
		ID      int
		Title   string
		GridPos struct{ X, Y, W, H int }
		Targets []struct{ Expr, LegendFormat string }
	}
	Templating struct {
		List []struct{ Name, Definition string }
	}
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	must(t, json.Unmarshal([]byte(read(t, "../docs/dashboard.json")), &d))
	return d
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, err)
	return string(text)
}

func TestWhatAlertsDashboardAndPagesNameIsExposed(t *testing.T) {
	t.Parallel()
	series, text := exposed(t)
	for _, alert := range strings.Split(read(t, "../docs/alerts.yaml"), "- alert: ")[1:] {
		name, _, _ := strings.Cut(alert, "\n")
		if checkUse(t, name, alert, series) == 0 {
			t.Errorf("%s looks at no metric", name)
		}
	}
	d := readDashboard(t)
	ids := map[int]bool{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("%q has the id of another panel, or no room", p.Title)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			if checkUse(t, p.Title, target.Expr+" "+target.LegendFormat, series) == 0 {
				t.Errorf("%q looks at no metric", p.Title)
			}
		}
	}
	if len(ids) < 20 || len(d.Templating.List) != 3 {
		t.Errorf("the dashboard has %d panels and %d variables", len(ids), len(d.Templating.List))
	}
	for _, v := range d.Templating.List {
		checkUse(t, v.Name, v.Definition, series)
	}
	seen := 0
	form := regexp.MustCompile("`(kuairelay_\\w+)(?:\\{([\\w,]+)\\})?`")
	must(t, filepath.WalkDir("../docs", func(page string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(page) != ".md" {
			return err
		}
		for _, m := range form.FindAllStringSubmatch(read(t, page), -1) {
			seen++
			all := series[m[1]]
			if all == nil {
				all = series[m[1]+"_bucket"]
			}
			for _, name := range strings.FieldsFunc(m[2], func(c rune) bool { return c == ',' }) {
				if all != nil &&
					!slices.ContainsFunc(all, func(labels map[string]string) bool { _, has := labels[name]; return has }) {
					t.Errorf("%s: %s has no label %s", page, m[1], name)
				}
			}
			if all == nil {
				t.Errorf("%s: no relay exposes %s", page, m[1])
			}
		}
		return nil
	}))
	if seen < 20 {
		t.Errorf("only %d metrics in the pages: are they found?", seen)
	}
	needProgram(t, "promtool")
	promtool(t, text, "check", "metrics")
}

func TestEveryAlertIsExplainedAndNoOther(t *testing.T) {
	t.Parallel()
	names := func(text, line string) (all []string) {
		for _, m := range regexp.MustCompile(line).FindAllStringSubmatch(text, -1) {
			all = append(all, m[1])
		}
		return all
	}
	alerts := names(read(t, "../docs/alerts.yaml"), `(?m)^ *- alert: (\w+)$`)
	_, section, _ := strings.Cut(read(t, "../docs/operator/monitoring.md"), "\n## Alerts\n")
	if headings := names(section, `(?m)^### (\w+)$`); len(alerts) < 20 || !slices.Equal(headings, alerts) {
		t.Errorf("docs/operator/monitoring.md explains\n%v\nand the alerts are\n%v", headings, alerts)
	}
}

func TestPrometheusTakesTheAlertsAndTheDashboardsQueries(t *testing.T) {
	t.Parallel()
	needProgram(t, "promtool")
	promtool(t, "", "check", "rules", "../docs/alerts.yaml")
	promtool(t, "", "test", "rules", "../docs/alerts.test.yaml")
	rules := "groups:\n  - name: dashboard\n    rules:\n"
	for i, p := range readDashboard(t).Panels {
		for _, target := range p.Targets {
			query := strings.NewReplacer("$__rate_interval", "5m", "$job", ".*", "$endpoint", ".*").Replace(target.Expr)
			rules += fmt.Sprintf("      - {record: 'panel_%d', expr: '%s'}\n", i, query)
		}
	}
	file := filepath.Join(t.TempDir(), "dashboard.yaml")
	must(t, os.WriteFile(file, []byte(rules), 0o600))
	promtool(t, "", "check", "rules", "--lint=none", file)
}

func promtool(t *testing.T, in string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "promtool", args...)
	cmd.Stdin = strings.NewReader(in)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}
