// Package browser checks the pages in a real browser: Chromium, played by playwright-core under node:test.
//
//	go test ./test/browser                           # all checks
//	go test ./test/browser -check '^0[1-4] '         # some, by a regular expression of their names
//	go test ./test/browser -check '^01 ' -visible    # in a window, slowly
//	go test ./test/browser -long                     # also those that take minutes
//	go test ./test/browser -shots /tmp/shots         # with screenshots: of checks that fail, and those that checks take
//
// # How it hangs together
//
// Go has everything that a browser is to meet: a real redis-server, relays in this process, receivers that answer what
// they are told, proxies, other sites (stage_test.go). A control server offers actions on them (control_test.go): a
// check does `await on.do('push', {updates: [{waybill: '777', status: 'signed'}]})`. Each NN-name.test.js runs in a
// process of its own, two at once, with a browser of its own. play.js gives it a stage of its own, made when its first
// check begins: Redis, two relays, receivers (a third of a second). Nothing is shared between files, so a file may stop
// its Redis and change its config as it likes; its checks run one after another and share its stage, each in a browser
// context of its own. A check that leaves the stage unfit for the next one takes another: `on.newStage({…})`. Each
// result becomes a Go subtest.
//
// # To add a check
//
// Write it into test/browser/NN-name.test.js, NN being its number in the list of checks:
//
//	import assert from 'node:assert/strict';
//	import { check, until } from './play.js';
//
//	check('14 one event: a duplicate is shown as such', async (on) => {
//	  await on.do('push', { updates: [{ waybill: '777', status: 'signed' }] });
//	  const page = await on.open('/events', { as: 'operator' });       // or 'shop', 'crm', or nobody
//	  await page.locator('[data-event]').first().waitFor();
//	  await until('the receiver has it', async () => (await on.do('got', { endpoint: 'orders' })).length === 1);
//	});
//
// What `on` has is said in play.js. A check fails by itself on a violation of the content security policy, a console
// error, an exception in a page, a request that fails or goes to another origin, and an HTTP 5xx, unless the check says
// `on.allow(/…/)`. Long checks are `check.long(…)`, which run with -long only. Wait for conditions, never for a time.
//
// # To add an action
//
// Write a function `func doNAME(s *stage, ask struct{…}) (any, error)` in a file of your own here, and a line of the
// table in control_test.go. What it returns is what `on.do('NAME', {…})` gives, as JSON; an error fails the check.
//
// # To change the config
//
// The default is in stage_test.go: tenants shop (endpoints orders, spare) and crm (sync, mail), each with a key, and an
// operator with a token. `on.do('config', {replace: ['old text', 'new text']})` changes it and reloads both relays; a
// file whose checks want other tenants says `stage({tenants: '…yaml…'})` once at its top.
package browser

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var (
	only    = flag.String("check", "", "run only the checks whose names match this regular expression")
	visible = flag.Bool("visible", false, "show the browser, and slow it down")
	long    = flag.Bool("long", false, "run the checks that take minutes, too")
	shots   = flag.String("shots", "", "folder for screenshots, of failures and of those that checks take")
)

// margin is what is left of the time of the test to end everything in good order.
const margin = 20 * time.Second

func TestPages(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.test.js")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no checks: %v", err)
	}
	for _, other := range []string{"play.js", "looks.js", "reporter.js"} {
		readFile(t, other) // so that go test knows that its result depends on them, as on all files that it reads
	}
	if _, err := regexp.Compile(*only); err != nil {
		t.Fatal(err)
	}
	modules, chromium := needs(t)

	ctx := t.Context()
	if end, ok := t.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, end.Add(-margin))
		defer cancel()
	}
	c := newControl(t)
	n := node{modules: modules, chromium: chromium, control: c.URL, files: files}
	seen := map[string]int{}
	err = n.run(ctx, t, func(r result) {
		seen[r.File]++
		t.Run(r.Name, r.report)
	})
	if err != nil {
		t.Error(err)
	}

	// A run that checks nothing is a mistake, as is a file that does not.
	if len(seen) == 0 {
		t.Error("no check ran")
	}
	for _, file := range files {
		if *only == "" && seen[file] == 0 && !strings.Contains(readFile(t, file), "check.long(") {
			t.Errorf("no check of %s ran", file)
		}
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
