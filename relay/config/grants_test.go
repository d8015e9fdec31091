package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// anyVariable is a LookupEnv that has all of them.
func anyVariable(name string) (string, bool) { return "Secret.Of." + name, true }

// endpointWith is a tenant's file whose endpoint has more keys.
func endpointWith(tenant, keys string) string {
	return "name: " + tenant + "\nendpoints:\n  - {name: a, url: 'https://h.example', secrets: [" + goodSecret + "], " +
		keys +
		"}\nroutes: [{to: a}]\n"
}

func TestATenantsFileUsesNoMoreThanTheOperatorAllows(t *testing.T) {
	t.Parallel()
	const main = "callback: {tokens: ['${SHOP_TOKEN_OF_OPERATOR}']}\n"
	header := func(value string) string { return endpointWith("shop", "headers: {x-a: '"+value+"'}") }
	tests := []struct {
		name, main, shop string
		want             string // the end of the one mistake; empty: there is none
	}{
		{"own variable", "", header("${SHOP_KEY}"), ""},
		{"own variable with a default", "", header("${SHOP_KEY:-x}"), ""},
		{"another tenant's", "", header("${PARCEL_KEY}"), "headers.x-a: variable PARCEL_KEY is not the tenant's: those " +
			"begin with SHOP_; tenants_env in config.yaml allows others"},
		{"with a default, which would show whether it is set", "", header("${PARCEL_KEY:-x}"),
			"variable PARCEL_KEY is not the tenant's: those begin with SHOP_; tenants_env in config.yaml allows others"},
		{"the name alone", "", header("${SHOP}"), "variable SHOP is not the tenant's: those begin with SHOP_; tenants_env " +
			"in config.yaml allows others"},
		{"in lower case", "", header("${shop_key}"), "variable shop_key is not the tenant's: those begin with SHOP_; " +
			"tenants_env in config.yaml allows others"},
		{"of no one", "", header("${HOME}"), "variable HOME is not the tenant's: those begin with SHOP_; tenants_env " +
			"in config.yaml allows others"},
		{"listed", "tenants_env: [PARCEL_KEY]\n", header("${PARCEL_KEY}"), ""},
		{"of the operator, by its name", "", header("${KUAIDIHELP_API_KEY}"),
			"variable KUAIDIHELP_API_KEY is the operator's; tenants_env in config.yaml allows it"},
		{"of the operator, because it is used there", "", header("${SHOP_TOKEN_OF_OPERATOR}"),
			"variable SHOP_TOKEN_OF_OPERATOR is the operator's; tenants_env in config.yaml allows it"},
		{"of a tenant with a longer name", "tenants: [{name: shop-a}]\n", header("${SHOP_A_KEY}"),
			"variable SHOP_A_KEY is that of tenant shop-a, by its name; tenants_env in config.yaml allows it"},
		{"that only looks so", "tenants: [{name: shop-a}]\n", header("${SHOP_AB_KEY}"), ""},
		{"in a key that is a whole file", "", "name: shop\ntests: [{event: '${X}', reaches: []}]\n",
			"tests[0].event: variable X is not the tenant's: those begin with SHOP_; tenants_env in config.yaml allows others"},
		{"in the name", "", "name: ${SHOP_NAME}\n", "name: must be written out, without ${…} and file:, for it is shown"},

		{"file beside it", "", header("file:secret"), ""},
		{"file in a folder below", "", header("file:deep/secret"), ""},
		{"absolute, but below", "", header("file:DIR/tenants.d/secret"), ""},
		{"up and down again", "", header("file:../tenants.d/secret"), ""},
		{"up", "", header("file:../operators"), `cannot read "file:../operators": it is outside of tenants_dir; ` +
			`tenants_files in config.yaml allows it`},
		{"up, to what is not there", "", header("file:../none"), `cannot read "file:../none": it is outside of ` +
			`tenants_dir; tenants_files in config.yaml allows it`},
		{"absolute", "", header("file:/etc/passwd"), `cannot read "file:/etc/passwd": it is outside of tenants_dir; ` +
			`tenants_files in config.yaml allows it`},
		{"by a link", "", header("file:linked"), `cannot read "file:linked": it is outside of tenants_dir; ` +
			`tenants_files in config.yaml allows it`},
		{"by a linked folder", "", header("file:linked.d/secret"),
			`cannot read "file:linked.d/secret": it is outside of tenants_dir; tenants_files in config.yaml allows it`},
		{"a path that is expanded", "", header("file:${SHOP_FILE}"),
			`cannot read "file:${SHOP_FILE}": no such file or directory`},
		{"listed file", "tenants_files: [operators]\n", header("file:../operators"), ""},
		{"listed folder, by a link", "tenants_files: [outside]\n", header("file:linked.d/secret"), ""},
		{"a folder whose name begins alike", "tenants_files: [oper]\n", header("file:../operators"),
			`cannot read "file:../operators": it is outside of tenants_dir; tenants_files in config.yaml allows it`},
		{"certificate", "", endpointWith("shop", "tls: {ca_file: ../operators}"),
			"tls.ca_file: cannot be read: it is outside of tenants_dir; tenants_files in config.yaml allows it"},
		{"event of a test", "", "name: shop\ntests: [{event: 'file:../operators', reaches: []}]\n",
			`tests[0].event: cannot read "file:../operators": it is outside of tenants_dir; ` +
				`tenants_files in config.yaml allows it`},
		{"another tenant's file", "tenants: [{name: parcel}]\n", header("file:parcel.key"),
			"headers.x-a: the file is that of tenant parcel, by its name; tenants_files in config.yaml allows it"},
		{"another tenant's folder", "tenants: [{name: parcel}]\n", header("file:parcel/key"),
			"headers.x-a: the file is that of tenant parcel, by its name; tenants_files in config.yaml allows it"},
		{"a link to another tenant's file", "tenants: [{name: parcel}]\n", header("file:to-parcel"),
			"headers.x-a: the file is that of tenant parcel, by its name; tenants_files in config.yaml allows it"},
		{"own file beside a tenant with a shorter name", "tenants: [{name: s}, {name: sh}]\n", header("file:shop.key"), ""},
		{"another tenant's file that is listed", "tenants: [{name: parcel}]\ntenants_files: [tenants.d/parcel.key]\n",
			header("file:parcel.key"), ""},

		{"no network", "", endpointWith("shop", "allow_cidrs: []"), ""},
		{"every network", "", endpointWith("shop", "allow_cidrs: [0.0.0.0/0]"), "allow_cidrs[0]: is not within " +
			"egress.tenant_cidrs in config.yaml, which says what files of tenants_dir may allow themselves"},
		{"within", "egress: {tenant_cidrs: [10.1.0.0/16]}\n", endpointWith("shop", "allow_cidrs: [10.1.2.0/24, "+
			"10.1.0.0/16, 10.1.2.3]"), ""},
		{"larger", "egress: {tenant_cidrs: [10.1.0.0/16]}\n", endpointWith("shop", "allow_cidrs: [10.0.0.0/8]"),
			"allow_cidrs[0]: is not within egress.tenant_cidrs in config.yaml, which says what files of " +
				"tenants_dir may allow themselves"},
		{"what everyone may", "egress: {allow_cidrs: [10.1.0.0/16]}\n", endpointWith("shop", "allow_cidrs: [10.1.2.3]"), ""},

		{"limits as the operator has them", "subscriptions: {daily_quota: 5}\n",
			"name: shop\nsubscriptions: {rate: 20, daily_quota: 5}\n", ""},
		{"a higher limit", "", "name: shop\nsubscriptions: {rate: 21}\n", "subscriptions.rate: is more than a file of " +
			"tenants_dir may have (20); raise subscriptions.rate in config.yaml to allow it"},
		{"no limit", "subscriptions: {daily_quota: 5}\n", "name: shop\nsubscriptions: {daily_quota: 0}\n",
			"subscriptions.daily_quota: is more than a file of tenants_dir may have (5); raise " +
				"subscriptions.daily_quota in config.yaml to allow it"},
		{"a limit where there is none", "", "name: shop\nsubscriptions: {daily_quota: 5}\n", ""},
		{"more of what all share", "", "name: shop\nlimits: {replays: 3}\n",
			"limits.replays: is more than a file of tenants_dir may have (2); raise limits.replays in config.yaml to allow it"},
		{"many in flight", "", endpointWith("shop", "max_in_flight: 256"), ""},
		{"too many in flight", "", endpointWith("shop", "max_in_flight: 257"), "max_in_flight: is more than a file of " +
			"tenants_dir may have (256); raise delivery.max_in_flight in config.yaml to allow it"},
		{"as many in flight as everyone", "delivery: {max_in_flight: 1000}\n", endpointWith("shop", "max_in_flight: 1000"),
			""},
		{"a large backlog", "", endpointWith("shop", "max_backlog: 1000001"), "max_backlog: is more than a file of " +
			"tenants_dir may have (1000000); raise delivery.max_backlog in config.yaml to allow it"},
		{"a long life", "", endpointWith("shop", "max_age: 31d"), "max_age: is more than a file of tenants_dir may have " +
			"(30d); raise delivery.max_age in config.yaml to allow it"},
		{"many retries", "", endpointWith("shop", "retry: ["+strings.Repeat("1s,", 101)+"]"),
			"retry: is more than a file of tenants_dir may have (100 pauses); raise delivery.retry in config.yaml to allow it"},
		{"large headers", "", header(strings.Repeat("x", 8<<10)), "headers: hold more than 8192 bytes, which is the " +
			"most in a file of tenants_dir"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := write(t, map[string]string{
				"config.yaml": main + tt.main, "operators": "Secret.Of.Operator", "outside/secret": "Secret.Of.Operator",
				"tenants.d/secret": "x", "tenants.d/deep/secret": "x", "tenants.d/parcel.key": "x", "tenants.d/parcel/key": "x",
				"tenants.d/shop.key": "x",
			})
			if err := os.WriteFile(filepath.Join(dir, "tenants.d/shop.yaml"), []byte(strings.ReplaceAll(tt.shop, "DIR", dir)),
				0o600); err != nil {
				t.Fatal(err)
			}
			for link, to := range map[string]string{"linked": "../operators", "linked.d": "../outside",
				"to-parcel": "parcel.key"} {
				if err := os.Symlink(to, filepath.Join(dir, "tenants.d", link)); err != nil {
					t.Fatal(err)
				}
			}
			_, err := Load(filepath.Join(dir, "config.yaml"), Options{LookupEnv: anyVariable})
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			got := ""
			if err != nil {
				got = strings.ReplaceAll(err.Error(), dir+"/", "")
			}
			lines := strings.Split(got, "\n")
			for _, line := range lines { // a link has two names, and a mistake for each
				if !strings.HasPrefix(line, "tenants.d/shop.yaml:") || !strings.HasSuffix(line, tt.want) {
					t.Errorf("got %q, want %q", line, tt.want)
				}
			}
			if strings.Contains(got, "Secret.Of") {
				t.Errorf("a value is shown: %s", got)
			}
		})
	}
}

func TestTheOperatorsFileUsesEverything(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{"operators": "x", "conf/config.yaml": `
callback: {tokens: ["${KUAIRELAY_CALLBACK_TOKEN}"]}
tenants:
  - name: shop
    subscriptions: {rate: 0}
    endpoints:
      - {name: a, url: "https://h.example", secrets: [` + goodSecret + `], allow_cidrs: [10.0.0.0/8],
         max_in_flight: 5000, headers: {x-a: "${PARCEL_KEY}", x-b: "file:../operators"}}
    routes: [{to: a}]
`})
	if _, err := Load(filepath.Join(dir, "conf/config.yaml"), Options{LookupEnv: anyVariable}); err != nil {
		t.Error(err)
	}
}

// Names that differ only in - and _ have the same variables: they belong to neither.
func TestVariablesOfTwoTenantsBelongToNeither(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{
		"config.yaml":      head,
		"tenants.d/a.yaml": endpointWith("shop-a", "headers: {x-a: '${SHOP_A_KEY}'}"),
		"tenants.d/b.yaml": endpointWith("shop_a", "headers: {x-a: '${SHOP_A_KEY}'}"),
	})
	_, err := Load(filepath.Join(dir, "config.yaml"), Options{LookupEnv: anyVariable})
	if err == nil || !strings.Contains(err.Error(), "is that of tenant shop_a") ||
		!strings.Contains(err.Error(), "is that of tenant shop-a") {
		t.Errorf("got %v", err)
	}
}

// A pull request can add a link as well as a file: what it leads to would be quoted in mistakes.
func TestATenantsFileThatIsALinkToOutsideIsNotRead(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{"config.yaml": head, "operators": "SecretKey: x", "tenants.d/a": "",
		"tenants.d/b": "name: b"})
	for link, to := range map[string]string{"x.yaml": "../operators", "b.yaml": "b"} {
		if err := os.Symlink(to, filepath.Join(dir, "tenants.d", link)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Load(filepath.Join(dir, "config.yaml"), Options{LookupEnv: anyVariable})
	want := dir + "/tenants.d/x.yaml:1: cannot read the file: it is outside of tenants_dir; tenants_files in " + dir +
		"/config.yaml allows it"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestWhatTenantsDirLeavesOutIsWarnedOf(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{
		"config.yaml": head, "tenants.d/A.YAML": "name: a", "tenants.d/b.Yml": "name: b", "tenants.d/.c.yaml": "name: c",
		"tenants.d/team/d.yaml": "name: d",
		"tenants.d/secrets/e":   "", "tenants.d/f.txt": "", "tenants.d/..2026/g.yaml": "name: g", "tenants.d/h.yaml.swp": "",
	})
	c, err := Load(filepath.Join(dir, "config.yaml"), Options{LookupEnv: env()})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range c.Warnings {
		got = append(got, strings.TrimPrefix(w.String(), dir+"/tenants.d/"))
	}
	equal(t, "warnings", got, []string{
		".c.yaml:1: the file is not read: its name begins with a dot",
		"A.YAML:1: the file is not read: the name of a tenant's file ends in .yaml or .yml",
		"b.Yml:1: the file is not read: the name of a tenant's file ends in .yaml or .yml",
		"team:1: the folder holds .yaml files, which are not read: tenants' files stand in tenants_dir itself",
	})
}

// A key that is added where a tenant's own file has it needs a decision: a bound in endpointDelivery, tenantLimits or
// tenantAllowance, or a place among those that cost the relay and Redis nothing.
func TestEveryKeyOfATenantIsBoundedOrSaidToCostNothing(t *testing.T) {
	t.Parallel()
	bounded := map[string][]string{
		"delivery":      {"max_in_flight", "max_backlog", "max_age", "retry"},
		"subscriptions": {"rate", "daily_quota"},
		"limits":        {"reads", "tests", "replays"},
	}
	costNothing := map[string][]string{"delivery": {"timeout", "rate", "breaker", "order"}}
	for section, fields := range map[string][]field{
		"delivery":      deliveryKeys(&Delivery{}),
		"subscriptions": limits(&Limits{}),
		"limits":        allowance(&Allowance{}),
	} {
		for _, f := range fields {
			if !slices.Contains(bounded[section], f.name) && !slices.Contains(costNothing[section], f.name) {
				t.Errorf("%s.%s: may a tenant's own file give it any value? Bound it in permissions.go, and say so here",
					section, f.name)
			}
		}
	}
}
