package config

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// docs describes every key, by its path without the indexes of lists. Editors show it, and docs/reference/config.md is
// made from it. A key that an endpoint or a tenant overrides is described where its default stands (inherited).
var docs = map[string]string{
	"server":        "The public listener: kuaidihelp and tenants call here.",
	"server.listen": "Address of the public listener.",
	"server.trusted_proxies": "Networks of reverse proxies whose `X-Forwarded-For` is believed. " +
		"List your proxies only: with all networks, `callback.allow_cidrs` holds nobody back.",

	"admin":        "The private listener: the operator's API, metrics and health. Only the operator should reach it.",
	"admin.listen": "Address of the private listener. It must differ from `server.listen`.",
	"admin.token": "The operator's token for the API, at least 8 characters of printable ASCII. " +
		"Without any token the operator's API is off.",
	"admin.tokens": "More tokens of the operator: each is a text, or a mapping of `key`, `name` and `until`. " +
		"Give each person and program one of its own, or list two while you replace one.",
	"admin.tokens.key": "The token, at least 8 characters of printable ASCII.",
	"admin.tokens.name": "Name of the token, unique in the list, of the same form as the name of a tenant. " +
		"`kuairelay audit` shows it, and a metric says when the token was last used. It must be written out.",
	"admin.tokens.until": "Time from which the token is refused, such as `2026-12-31T18:00:00+08:00`.",

	"redis": "Where events, deliveries and subscriptions are kept.",
	"redis.url": "URL of Redis 6.2 or later: `redis://`, `rediss://` (TLS) or `unix://`. " +
		"Sentinel: `" + sentinelForm + "`. Cluster: `" + clusterForm + "`. " +
		"Without a URL the relay keeps an embedded Redis in memory: for one process, not for production.",
	"redis.wait_replicas": "How many replicas of Redis must have an event before kuaidihelp is answered. 0: none.",

	"spool": "Callbacks on disk, one file each: those that Redis cannot take, " +
		"and without `redis.url` all until they are delivered.",
	"spool.dir": "Folder of the spool, relative to the working directory. " +
		"Several relays on one machine may share it.",
	"spool.max_bytes": "How much the spool may take on disk, per process. " +
		"Each file counts in whole blocks of 4 KiB. " +
		"Above it a callback is answered 503, and kuaidihelp sends it again.",

	"kuaidihelp": "The shared account at kuaidihelp. Without `api_key` the relay only hands callbacks on: " +
		"nothing can be subscribed.",
	"kuaidihelp.api_url": "Address of kuaidihelp's API.",
	"kuaidihelp.app_id":  "The account's `app_id`. It goes together with `api_key`.",
	"kuaidihelp.api_key": "The account's `api_key`. It is used to sign calls, and is never sent, logged or shown.",
	"kuaidihelp.methods": "Methods of kuaidihelp's API that tenants may call through `POST /api`. The relay answers " +
		"`express.info.get` itself, from what it knows of the waybills that the tenant has subscribed.",
	"kuaidihelp.rate":        "Calls to kuaidihelp a second, over all replicas.",
	"kuaidihelp.concurrency": "Calls to kuaidihelp at one time, per process.",
	"kuaidihelp.timeout":     "Time limit of one call, at most 8s.",
	"kuaidihelp.query": "How often kuaidihelp is asked how waybills stand (`express.info.get`), " +
		"for `subscriptions.reconcile`, and for tenants that ask with `max_age`. " +
		"It may charge for each, and locks a waybill that is asked for too often.",
	"kuaidihelp.query.rate": "Such calls a second, over all replicas, each for up to ten waybills.",
	"kuaidihelp.query.daily_budget": "Waybills that it is asked for a day, from midnight to midnight in China, " +
		"over all replicas. 0: it is never asked.",
	"kuaidihelp.query.min_interval": "Time between two queries of the same waybill, at least.",

	"subscriptions":     "How waybills are subscribed. `rate` and `daily_quota` are the defaults of every tenant.",
	"subscriptions.ttl": "How long a waybill stays subscribed.",
	"subscriptions.signed_ttl": "How long a waybill stays subscribed after the parcel was signed for, " +
		"or after kuaidihelp refused it.",
	"subscriptions.ts_window": "By how much `ts` of a call to `POST /api` may differ from the relay's time.",
	"subscriptions.max": "Waybills that one tenant may have subscribed at one time. " +
		"A million take about 0.5 GB of Redis.",
	"subscriptions.no_record": "What becomes of a waybill of which kuaidihelp has no record yet (201101), " +
		"as when its label was just printed.",
	"subscriptions.no_record.retry": "Pauses after each such answer; then kuaidihelp is asked again. " +
		"When the list ends, the waybill has failed. Empty: it fails at once. At most 50.",
	"subscriptions.reconcile": "What becomes of a waybill that no callback has come for: kuaidihelp is asked how it " +
		"stands, and what is new is delivered with `kuairelay-reason: reconcile`.",
	"subscriptions.reconcile.after": "Without a callback for so long. 0: kuaidihelp is not asked. " +
		"Needs `kuaidihelp.query.daily_budget`.",
	"subscriptions.reconcile.resubscribe_after": "How often an answer is news that no callback had brought, " +
		"before the waybill is subscribed again.",
	"subscriptions.reconcile.dry_run": "Ask and count, but deliver nothing, and subscribe nothing again.",
	"subscriptions.rate": "Requests to subscribe that one tenant may make a second, over all replicas. " +
		"0: no limit.",
	"subscriptions.daily_quota": "Waybills that one tenant may ask for a day, from midnight to midnight in China. " +
		"0: no limit.",

	"callback": "What kuaidihelp calls: `POST /callback/{token}` on the public listener.",
	"callback.tokens": "Tokens that a callback's address may end with. " +
		"Each is at least 8 characters: letters, digits and `-._~`. List two while you replace one. " +
		"Each is a text, or a mapping of `token`, `name` and `until`; at least one has no `until`.",
	"callback.tokens.token": "The token.",
	"callback.tokens.name": "Name of the token, unique in the list, of the same form as the name of a tenant. " +
		"A metric says when the token was last used, and the log names it. It must be written out.",
	"callback.tokens.until": "Time from which a callback with the token is refused, such as `2026-12-31T18:00:00+08:00`.",
	"callback.allow_cidrs":  "Networks that may call. Empty: everybody who knows a token.",
	"callback.ack":          "Body of the answer to a callback that was accepted. kuaidihelp expects `success`.",
	"callback.max_body": "Largest body of a callback, after it is unpacked (gzip, deflate). " +
		"A larger one is answered 413.",
	"callback.silence": "Without a callback for this time, a metric, " +
		"the log and `kuairelay status` warn that kuaidihelp is silent. 0: never.",

	"dedupe":             "For how long an event that was accepted before is dropped as a duplicate.",
	"dedupe.window":      "The time for events with track times.",
	"dedupe.bare_window": "The time for events without track times, which may come again with the same content.",

	"retention":             "How long delivered events are kept in Redis. `replay` reaches back this far.",
	"dead_letter_retention": "How long dead letters are kept.",

	"delivery":         "How deliveries are made. An endpoint may override every key but `orphan_grace`.",
	"delivery.timeout": "Time limit of a whole attempt, from connecting to the end of the answer. At most 5m.",
	"delivery.retry":   "Pauses after each failed attempt. When the list ends, the delivery becomes a dead letter.",
	"delivery.max_in_flight": "Attempts at one time, per endpoint and process. " +
		"An endpoint that has not answered yet, or has stopped answering, gets two.",
	"delivery.rate": "Attempts a second, per endpoint, over all replicas. 0: no limit.",
	"delivery.max_age": "Age after which a delivery becomes a dead letter, whatever the schedule says. " +
		"It counts from acceptance.",
	"delivery.max_backlog": "Deliveries that an endpoint keeps while it is paused, gone or failing. " +
		"The oldest above it become dead letters.",
	"delivery.breaker": "When the relay stops sending to an endpoint that keeps failing, and for how long.",
	"delivery.breaker.failures": "Failures in a row that open the breaker. As many failures within `window` also " +
		"open it, if they are at least `ratio` of the attempts. 0: it never opens.",
	"delivery.breaker.ratio":        "Share of failed attempts within `window`, above 0 and at most 1.",
	"delivery.breaker.window":       "Time over which failures are counted.",
	"delivery.breaker.cool_off":     "First pause. Then one delivery is tried; each try that fails doubles the pause.",
	"delivery.breaker.max_cool_off": "Longest pause.",
	"delivery.order": "`waybill`: one update of a waybill at a time, in order. " +
		"`none`: updates do not wait for each other.",
	"delivery.orphan_grace": "How long a delivery waits for an endpoint that is not in the config any more. " +
		"Then it becomes a dead letter.",

	"egress": "Where deliveries may go. Public addresses are always allowed; " +
		"link-local addresses and metadata services never.",
	"egress.allow_cidrs":  "Networks that are not public and that every endpoint may be in, such as `10.0.0.0/8`.",
	"egress.tenant_cidrs": "Networks that a file in `tenants_dir` may put into `allow_cidrs` of its own endpoints.",
	"egress.proxy": "Proxy for all deliveries: `http://`, `https://` or `socks5://`. " +
		"The proxy resolves names, so it must refuse addresses that are not allowed. " +
		"Each attempt opens a connection of its own.",

	"limits": "What a tenant may take of what all share, over all replicas, and bounds of a process. " +
		"Above them: 429 with `Retry-After`.",
	"limits.reads": "Requests a second of one tenant that read or change what the relay keeps. " +
		"A session of the pages may send as many as the key outside `tenants` says. " +
		"Requests to subscribe have `subscriptions.rate`.",
	"limits.tests":   "Test events a second of one tenant.",
	"limits.replays": "Replays of one tenant that run at one time. Others wait.",
	"limits.connections": "Connections of each listener at one time, per process. " +
		"Above it the connection that is idle longest is closed; if none is idle, the new one is answered 503.",
	"limits.parse_bytes": "Memory for the bodies of callbacks, per process, at least 4 × `callback.max_body`. " +
		"Above it a callback is answered 503, and kuaidihelp sends it again.",

	"console": "The pages for people: the operator's at `/` of the private listener, tenants' at `/console/` of the " +
		"public one.",
	"console.tenants": "Whether tenants have pages. They log in with their API keys.",
	"console.session": "How long a login lasts at most. The operator's also ends after two hours without a click.",
	"console.timezone": "Where times are shown to readers who have not chosen: `local` is their browser's zone; " +
		"or a name like `Asia/Shanghai`.",
	"console.language": "Language for readers who have not chosen: `auto` is what their browser asks for, else English; " +
		"`zh` is Chinese where the browser asks for neither.",
	"console.hosts": "Names by which the private listener is reached, beside localhost and addresses: " +
		"`relay`, if Prometheus asks http://relay:8081.",
	"console.history": "How long statistics are kept by minutes, from 1h to 7d. Those by hours are kept for 15d. " +
		"0: none are kept. An endpoint that is always busy takes up to 0.19 MB of Redis.",

	"tenants_dir": "Folder with more tenants, relative to this file: " +
		"each `.yaml` or `.yml` file in it holds the keys of one item of `tenants`. " +
		"The default folder may be missing.",
	"tenants_env": "Variables that all files in `tenants_dir` may use, " +
		"beside those that begin with their tenant's name (`SHOP_…` of `shop`).",
	"tenants_files": "Files and folders that all files in `tenants_dir` may read, beside those in that folder. " +
		"Relative to this file.",

	"tenants": "Tenants: internal applications that receive updates.",
	"tenants.name": "Name of the tenant, unique: 1 to 31 of `a-z`, `0-9`, `_` and `-`, " +
		"beginning with a letter or digit. It must be written out.",
	"tenants.api_keys": "Keys of the tenant for the API and for subscribing: each is a text, or a mapping of `key`, " +
		"`name` and `until`. List two while you replace one.",
	"tenants.api_keys.key": "The key, at least 8 characters of printable ASCII.",
	"tenants.api_keys.name": "Name of the key, unique in its tenant, of the same form as the tenant's name. " +
		"`kuairelay audit` shows it. It must be written out.",
	"tenants.api_keys.until": "Time from which the key is refused, such as `2026-12-31T18:00:00+08:00`.",
	"tenants.subscriptions":  "The tenant's own limits for subscribing. A file in `tenants_dir` may only lower them.",
	"tenants.limits":         "The tenant's own limits for the API. A file in `tenants_dir` may only lower them.",

	"tenants.watch": "What the tenant is told of the waybills that it has subscribed, beside what kuaidihelp pushes.",
	"tenants.watch.not_collected": "It gets `waybill.not_collected` for a waybill of which no update has come for so " +
		"long since it subscribed it. 0: it does not.",
	"tenants.watch.stalled": "It gets `waybill.stalled` for a parcel of which no update has come for so long since the " +
		"last one, and that is neither signed for nor at a pick-up point. 0: it does not.",
	"tenants.watch.not_picked_up": "It gets `waybill.not_picked_up` for a parcel whose last status is `allograph` for " +
		"so long: it waits at a pick-up point or in a locker. 0: it does not.",
	"tenants.watch.lost": "Whether it gets `subscription.lost` for a waybill that has failed because kuaidihelp had " +
		"no record of it.",

	"notices": "Who is told when something needs a person, and when it is over: by messages to a chat, " +
		"or a signed webhook. At most 50 receivers.",
	"notices.to": "Where messages go: the address of the robot, bot or incoming webhook. It holds a token, " +
		"so it is never shown.",
	"notices.format": "`wecom` (企业微信), `feishu` (飞书), `dingtalk` (钉钉), `slack`, " +
		"or `webhook`, signed by Standard Webhooks.",
	"notices.secret": "To sign messages with. Of `dingtalk` it begins with SEC, of `webhook` with `whsec_`; " +
		"for `feishu` and `dingtalk` it is needed if their security settings ask for a signature. " +
		"Others have none.",
	"notices.on": "Which problems are told: their codes (`redis_down`, `breaker_open`, …), " +
		"severities (`critical`, `warning`, `notice`), or `all`.",
	"notices.every": "A problem that comes and goes is told at most once, and to be over at most once, " +
		"in such a span. 1m to 7d.",
	"notices.language": "Language of the messages: `zh` or `en`.",

	"tenants.notices": "Who is told of problems of the tenant's own endpoints and routes. " +
		"In a file in `tenants_dir` at most 5 receivers; they may be in the networks of `egress.tenant_cidrs`, too.",
	"tenants.notices.to":     "As `notices.to`.",
	"tenants.notices.format": "As `notices.format`.",
	"tenants.notices.secret": "As `notices.secret`.",
	"tenants.notices.on": "As `notices.on`. Tenants have `breaker_open`, `endpoint_gone`, `endpoint_fails`, " +
		"`gets_nothing`, `backlog_old`, `dead_letters_rising` and `when_fails`.",
	"tenants.notices.every":    "As `notices.every`.",
	"tenants.notices.language": "As `notices.language`.",

	"tenants.endpoints": "URLs that receive the tenant's updates, each with its secrets and delivery settings. " +
		"In a file in `tenants_dir`, `max_in_flight`, `max_backlog`, " +
		"`max_age` and the number of pauses in `retry` have a bound.",
	"tenants.endpoints.name": "Name of the endpoint, unique in its tenant, of the same form as the tenant's name.",
	"tenants.endpoints.url": "Where updates are posted: an absolute `http` or `https` URL, without user, " +
		"password and fragment.",
	"tenants.endpoints.secrets": "Signing secrets: each is a text, or a mapping of `secret` and `until`. " +
		"All that have not ended sign every request. At least one has no end.",
	"tenants.endpoints.secrets.secret": "A secret of Standard Webhooks: `whsec_` and the base64 of 24 to 64 bytes. " +
		"`kuairelay keygen` makes one.",
	"tenants.endpoints.secrets.until": "Time at which the secret stops signing, such as " +
		"`2026-12-31T18:00:00+08:00`.",
	"tenants.endpoints.format": "Form of the body: `standard`, or `kuaidihelp` for receivers that spoke to " +
		"kuaidihelp before.",
	"tenants.endpoints.headers": "Headers that are sent with every request, by name. " +
		"Headers of the relay itself cannot be set. In a file in `tenants_dir` they may have 8 KiB in total.",
	"tenants.endpoints.allow_cidrs": "Networks that are not public and that this endpoint may be in, " +
		"beside `egress.allow_cidrs`. A file in `tenants_dir` may list networks within `egress.tenant_cidrs`.",
	"tenants.endpoints.tls": "How the receiver's certificate is checked, and which one the relay shows. " +
		"Files are PEM, relative to this file.",
	"tenants.endpoints.tls.ca_file": "Authorities that may have signed the receiver's certificate, " +
		"instead of the system's.",
	"tenants.endpoints.tls.cert_file": "Certificate of the relay (mutual TLS). It goes together with `key_file`.",
	"tenants.endpoints.tls.key_file":  "Key of that certificate.",
	"tenants.endpoints.tls.server_name": "Name that the receiver's certificate must have, " +
		"instead of the URL's host.",

	"tenants.routes": "Rules that say which updates go to which endpoints. " +
		"An endpoint gets an update once, whichever of its routes match.",
	"tenants.routes.to": "One endpoint of this tenant, or a list.",
	"tenants.routes.match": "Conditions, all of which must hold. `type`, `cp_code`, " +
		"`status` and `waybill_code` take one value or a list; `*` stands for any text. " +
		"Without `match`, every update matches.",
	"tenants.routes.match.type":         "Type of the callback, such as `express_sub_msg`.",
	"tenants.routes.match.cp_code":      "Brand, such as `zt`.",
	"tenants.routes.match.status":       "Status of the update, such as `signed`.",
	"tenants.routes.match.waybill_code": "Waybill, such as `77*`.",
	"tenants.routes.match.changed":      "`status`: only updates whose status is not the waybill's last one.",
	"tenants.routes.match.subscribed":   "`true`: only waybills that this tenant has subscribed.",
	"tenants.routes.when": "Expression over the event, which must be true as well, " +
		"such as `len(event.tracks) > 0`.",

	"tenants.tests":      "Tests of the tenant's routes, which `kuairelay check` runs.",
	"tenants.tests.name": "Name that is shown if the test fails.",
	"tenants.tests.event": "The event: an item of a callback, or the webhook of what the relay itself says, in YAML, or " +
		"JSON as a text or `file:PATH`.",
	"tenants.tests.reaches": "Endpoints of this tenant that the event must reach, and no others. Empty: none.",
}

// inherited says where the default of a key stands that is overridden here; empty: it has a default of its own.
func inherited(path string) string {
	for _, section := range []string{"tenants.endpoints.", "tenants.subscriptions.", "tenants.limits."} {
		key, ok := strings.CutPrefix(path, section)
		if !ok || docs[path] != "" {
			continue
		}
		if section == "tenants.endpoints." {
			return "delivery." + key
		}
		return strings.TrimPrefix(section, "tenants.") + key
	}
	return ""
}

// describe returns the shape of a key with what its doc and its default are.
func (r reader) describe(path string) shape {
	s := shape{}
	for name, v := range r.schema(path + ".") {
		s[name] = v
	}
	if from := inherited(path); from != "" {
		s["description"] = docs[from] + " Default: `" + from + "`."
		return s
	}
	s["description"] = docs[path]
	if r.fallback != nil {
		s["default"] = r.fallback
	}
	return s
}

// inYAML returns a default as a file would say it; nil: there is none, or it is not shown.
func inYAML(v any) any {
	switch v := v.(type) {
	case time.Duration:
		return spanText(v)
	case int64:
		return sizeText(v)
	case int, float64:
		return v

	// What is empty is as if it were left out.
	case bool:
		if !v {
			return nil
		}
		return v
	case string:
		if v == "" {
			return nil
		}
		return v

	case []string:
		return append([]string{}, v...)
	case []netip.Prefix:
		return []string{} // no network is allowed by itself
	case []time.Duration:
		var spans []string
		for _, span := range v {
			spans = append(spans, spanText(span))
		}
		return spans
	}
	return nil
}

// spanText returns a duration with the largest unit in which it is a whole number; up to three days that is hours. 0
// has none: it stands for never.
func spanText(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	const day = 24 * time.Hour
	units := []struct {
		least, size time.Duration
		name        string
	}{
		{4 * day, day, "d"},
		{time.Hour, time.Hour, "h"},
		{time.Minute, time.Minute, "m"},
		{time.Second, time.Second, "s"},
	}
	for _, u := range units {
		if d >= u.least && d%u.size == 0 {
			return strconv.FormatInt(int64(d/u.size), 10) + u.name
		}
	}
	return d.String()
}

// sizeText is the same for a number of bytes.
func sizeText(n int64) string {
	for _, unit := range []string{"GiB", "MiB", "KiB"} {
		if size := sizeUnits[unit]; n >= size && n%size == 0 {
			return strconv.FormatInt(n/size, 10) + unit
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}
