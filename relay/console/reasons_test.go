package console

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
)

// reasonSources are the files whose texts pages show as reasons, below relay.
var reasonSources = []string{
	"api/problems.go", "api/endpointproblems.go", "api/storageproblems.go", "api/configproblems.go",
	"api/verdict.go", "api/nothing.go", "api/waybills.go", "api/find.go", "api/explain.go", "api/again.go",
	"api/deadletters.go", "api/quarantine.go", "api/replays.go", "api/query.go", "api/events.go", "api/endpoints.go",
	"api/request.go", "deliver/verdict.go", "deliver/janitor.go", "deliver/post.go", "deliver/egress.go",
	"deliver/http1.go", "deliver/plainerror.go", "route/explain.go", "explain.go", "store/db/trouble.go",
	"store/db/advice.go", "store/db/form.go",
	"kuaidihelp/parse.go", "kuaidihelp/item.go", "kuaidihelp/form.go", "kuaidihelp/multipart.go", "kuaidihelp/parts.go",
	"kuaidihelp/charset.go", "kuaidihelp/brackets.go",
	"api/notices.go", "notify/send.go", "config/notices.go",
	"config/endpoint.go", "config/expand.go", "config/grants.go", "config/node.go", "config/reader.go",
	"config/scalar.go", "config/schema.go", "config/subscribe.go", "config/syntax.go", "config/tenants.go",
	"config/warn.go", "config/weaksecrets.go", "configstate.go", "store/db/url.go", "deliver/target.go",
}

// noReasons are calls whose texts are for the log, or name a question to Redis.
var noReasons = []string{"Info", "Warn", "Error", "Debug", "String", "Strings", "about", "failed", "wrap", "Wrap",
	"TryLock", "NewReplacer", "HasPrefix", "Replace"}

// onlyForPrograms are texts in those files that no page shows.
var onlyForPrograms = []string{
	"test fails:", "the event cannot be understood", "the event reaches", "the event does not reach", "the route at",
	"no route leads there", "there is no event in it", "as well:", "it has no secret to sign with",
	"there is no format", "is not allowed", "is never allowed", "an address with a password", "no address answers",
	"end old deliveries", "HTTP/1.1", "is missing", "not able to",
	"dead_letters", "dry_run", "state of a dead letter", "groups have no pages", "give either", "names no endpoint",
	"expect: must be the number", "goes without", "goes with all", "there is no such parameter", "no way to make",
	"ERR ", "redis: all sentinels", "unknown command", "attempt to", "redis takes callbacks, but one", "spool of ",
	"spool disk",
	"the config's files have mistakes", "config: ", "an answer came that nobody", "more than the answer",
	"go with all", "ended in the middle", "is required", "the parameter", "must name the endpoint", "the whole",
	"^", "unknown anchor", "did not find expected", "could not find expected", "found unexpected end", // of yaml.v3,
	"another program listens at", "cannot listen", "unknown port", // of commands
	"application/json;",
	"found character that", "mapping values are not allowed", // instead of which others are shown
}

func TestEveryReasonOfTheSourceIsKnownInChinese(t *testing.T) {
	t.Parallel()
	var known strings.Builder
	for _, list := range allReasons {
		for _, r := range list {
			known.WriteString(placeOf.ReplaceAllString(r.en, "\x00") + "\n")
		}
	}
	places := regexp.MustCompile(`%[-+.#\d]*[a-zA-Z]`)
	found := 0
	for _, name := range reasonSources {
		for _, reason := range textsOf(t, filepath.Join("..", name)) {
			for _, piece := range places.Split(reason, -1) {
				piece = strings.Trim(piece, "\"',;:() \n")
				if field, rest, ok := strings.Cut(piece, ": "); ok && strings.Contains(known.String(), "\n"+field+": \x00\n") {
					piece = rest
				}
				if !strings.Contains(piece, " ") || !strings.ContainsFunc(piece, unicode.IsLower) {
					continue
				}
				found++
				none := slices.ContainsFunc(onlyForPrograms, func(s string) bool { return strings.Contains(reason, s) })
				if !none && !strings.Contains(known.String(), piece) {
					t.Errorf("%s: no pattern of allReasons has %q", name, piece)
				}
			}
		}
	}
	if found < 200 {
		t.Errorf("only %d texts were found", found)
	}
}

// textsOf gives the texts of a file that may be shown. Texts that are added up are one.
func textsOf(t *testing.T, name string) (all []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec, *ast.StructType:
			return false
		case *ast.KeyValueExpr: // for clients that are older than problems
			if key, ok := n.Key.(*ast.Ident); ok && key.Name == "sentences" {
				return false
			}
		case *ast.CallExpr:
			called := ""
			switch f := n.Fun.(type) {
			case *ast.SelectorExpr:
				called = f.Sel.Name
			case *ast.Ident:
				called = f.Name
			}
			return !slices.Contains(noReasons, called)
		case *ast.BinaryExpr:
			if text, ok := addedUp(n); ok {
				all = append(all, text)
				return false
			}
		case *ast.BasicLit:
			if text, ok := addedUp(n); ok {
				all = append(all, text)
			}
		}
		return true
	})
	return all
}

func addedUp(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		return text, e.Kind == token.STRING && err == nil
	case *ast.BinaryExpr:
		left, ok := addedUp(e.X)
		right, also := addedUp(e.Y)
		return left + right, ok && also && e.Op == token.ADD
	}
	return "", false
}

// A pattern that another one shadows, or that lacks a place in Chinese, is a mistake.
func TestEveryPatternTranslatesItsOwnReason(t *testing.T) {
	t.Parallel()
	v := chineseVisit(t)
	for _, list := range allReasons {
		for _, r := range list {
			reason := r.en
			for i := 0; placeOf.MatchString(reason); i++ {
				with := "Name" + strconv.Itoa(i)
				if placeOf.FindString(reason) == "%d" {
					with = strconv.Itoa(900 + i)
				}
				at := placeOf.FindStringIndex(reason)
				reason = reason[:at[0]] + with + reason[at[1]:]
			}
			got := v.say(reason)
			want := ""
			for i, at := range newPattern(r).order {
				p := newPattern(r)
				want += p.zh[i]
				if p.numbers[at] {
					want += strconv.Itoa(900 + at)
				} else {
					want += "Name" + strconv.Itoa(at)
				}
			}
			want += newPattern(r).zh[len(newPattern(r).order)]
			if got.String() != want {
				t.Errorf("%q is %q instead of %q", reason, got, want)
			}
			if n := len(newPattern(r).numbers); n != len(newPattern(r).order) {
				t.Errorf("%q has %d places, in Chinese %d", r.en, n, len(newPattern(r).order))
			}
		}
	}
}

func chineseVisit(t *testing.T) *visit {
	t.Helper()
	zone, err := time.LoadLocation("Asia/Shanghai")
	if err != nil {
		t.Fatal(err)
	}
	return &visit{look: &look{language: chinese}, zone: zone, now: time.Date(2026, 11, 30, 4, 0, 0, 0, time.UTC)}
}

func TestReasonsInChinese(t *testing.T) {
	t.Parallel()
	v := chineseVisit(t)
	for reason, want := range map[string]string{
		"":                                      "",
		"the receiver refuses this body: 422":   "接收方拒收（422）",
		`status "signed" is none of a, b`:       "status 是 signed 已签收，不在 a, b 之中",
		"older than max_age 168h":               "超过 max_age（168h）",
		"what no pattern knows":                 "what no pattern knows",
		"4 attempts failed, the last: 502 oops": "4 次尝试均失败，最后一次：502 oops",
		"it fails, so that its breaker is open: 1 delivery waits": "投递失败，已熔断：1 个投递在等待",
		"2 attempts failed, the last: refused: nothing listens at 10.0.0.1:80 (connection refused)": "2 次尝试均失败，" +
			"最后一次：连接被拒绝：10.0.0.1:80 没有监听",
		"2 attempts failed, the last: refused: dial tcp 10.0.0.1:80: connect: connection refused": "2 次尝试均失败，" +
			"最后一次：连接被拒绝：10.0.0.1:80 没有监听",
		"6 updates came, the latest at 2026-11-30T03:26:58Z: signed; shop/orders: a dead letter: the receiver refuses " +
			"this body: 422; crm/sync has 5 of 6": "共收到 6 次更新，最近一次在 11:26:58：signed 已签收；" +
			"shop/orders：已成为死信：接收方拒收（422）；crm/sync 已收到 5/6",
		"4 updates came, the latest at 2026-11-30T03:26:58Z: sending; crm/gone: queued; the endpoint is gone since " +
			"2026-11-30T03:26:58Z; shop/stock: queued; the endpoint's breaker is open until 2026-11-30T04:26:58Z; shop/orders " +
			"has all 4": "共收到 4 次更新，最近一次在 11:26:58：sending 运输中；crm/gone：排队待发；该端点已下线（自 11:26:58）；" +
			"shop/stock：排队待发；该端点已熔断，至 12:26:58；shop/orders 已收到全部 4 次",
		"the latest attempt: 503 a; b, at 2026-11-30T03:26:58Z": "最近一次尝试（11:26:58）：503 a; b",
		`status "signed" is not sending`:                        "status 是 signed 已签收，而不是 sending 运输中",
		"a serves x\nb serves y":                                "a 使用 x；b 使用 y",
	} {
		if got := v.say(reason).String(); got != want {
			t.Errorf("%q is %q instead of %q", reason, got, want)
		}
	}

	// What others wrote is told apart, and cannot hide.
	got := v.say("4 attempts failed, the last: 502 <b>\u202e")
	if last := got[len(got)-1]; last.Kind != saidName || last.Text != "502 <b>⟪U+202E⟫" {
		t.Errorf("%+v", got)
	}
	if got := v.say("what no pattern knows"); got[0].Kind != saidEnglish {
		t.Errorf("%+v", got)
	}
}

// The mistakes that the tests of package config want are shown in Chinese, with their places.
func TestMistakesOfTheConfigInChinese(t *testing.T) {
	t.Parallel()
	v := chineseVisit(t)
	names, err := filepath.Glob("../config/testdata/mistakes/*.want")
	if err != nil || len(names) < 20 {
		t.Fatalf("%d files, %v", len(names), err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSpace(line)
			english := slices.ContainsFunc(v.sayMistakes(line), func(p saidPart) bool { return p.Kind == saidEnglish })
			if english && !strings.Contains(line, ".when: ") { // which says what the check of an expression says
				t.Errorf("%s is in English: %s", line, v.sayMistakes(line).String())
			}
		}
	}

	two := "config.yaml:3: tenants[0].api_keys[1].key: must not be empty (after expansion)\n" +
		`tenants.d/x y.yaml:4: unknown key "urls"; did you mean "url"?`
	want := "config.yaml:3: tenants[0].api_keys[1].key：不能为空（展开之后）；" +
		`tenants.d/x y.yaml:4：未知的键 "urls"；是不是 "url"？`
	if got := v.sayMistakes(two).String(); got != want {
		t.Errorf("%q instead of %q", got, want)
	}
	own := v.sayMistakes("config.yaml:9: tenants[0].routes[0].when: 1:7: unexpected token EOF")
	if last := own[len(own)-1]; last.Kind != saidEnglish || last.Text != "1:7: unexpected token EOF" {
		t.Errorf("what a compiler says is %+v", own)
	}
}

// A reason may hold what a receiver answered: whatever it is, it is shown in a time that does not matter.
func TestAReasonThatIsHostileIsShownAsItIs(t *testing.T) {
	t.Parallel()
	v := chineseVisit(t)
	for _, of := range []string{"; ", "\n", ": ", "redis is down: ", "it is ", "%s", ", and ", "today "} {
		reason := strings.Repeat(of, 64<<10/len(of))
		if got := v.say(reason).String(); got != visible(reason) {
			t.Errorf("%d bytes of %q are shown as %d", len(reason), of, len(got))
		}
		short := strings.Repeat(of, mostReason/len(of))
		if got := v.say(short); len(got.String()) > 8*len(short) {
			t.Errorf("%d bytes of %q are shown as %d", len(short), of, len(got.String()))
		}
	}
}

func TestAReasonBeginsWithACapitalLetterUnlessWithAName(t *testing.T) {
	t.Parallel()
	v := chineseVisit(t)
	v.look = &look{language: english}
	for reason, want := range map[string]string{
		"the receiver refuses this body: 422": "The receiver refuses this body: 422",
		"it answered 410":                     "It answered 410",
		"shop/orders has it":                  "shop/orders has it",
		"vm-1 serves 0123":                    "vm-1 serves 0123",
		"kuaidihelp is silent":                "kuaidihelp is silent",
		"":                                    "",
	} {
		if got := v.sentence(reason).String(); got != want {
			t.Errorf("%q becomes %q, not %q", reason, got, want)
		}
	}
	if got := chineseVisit(t).sentence("type is a number, not a string").String(); got != "type 是数字，而不是字符串" {
		t.Errorf("in Chinese a name keeps its letters: %q", got)
	}
}
