package config

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// schema is the table of every key that a file may hold. Keys are read in the order of this table, not of the file:
// the defaults of deliveries before the endpoints that inherit them, and a tenant's endpoints before the routes to
// them.
func schema(l *loading) reader {
	c, places := l.config, &l.places
	return object(
		optional("server", at(&places.server, object(
			optional("listen", at(&places.listen, one(&c.Server.Listen, listenAddress))),
			optional("trusted_proxies", after(list(&c.Server.TrustedProxies, network), func(v value) {
				openToAll(v, c.Server.TrustedProxies, "trusts almost everybody's X-Forwarded-For: "+
					"then callback.allow_cidrs holds nobody back; list your proxies only")
			})),
		))),
		optional("admin", at(&places.admin, object(
			optional("listen", at(&places.adminListen, after(one(&c.Admin.Listen, listenAddress), func(v value) {
				if sameListener(c.Admin.Listen, c.Server.Listen) {
					v.mistake("is server.listen too; the two need an address each")
				}
			}))),
			optional("token", after(one(&c.Admin.Token, maybe(apiKey)), func(v value) {
				l.guardLogin(v, c.Admin.Token.Reveal(), true)
			})),
			optional("tokens", after(l.keysOf(&c.Admin.Tokens, true), func(v value) { l.endsOf(v, c.Admin.Tokens) })),
		))),

		// Whom the relay talks to, and where it keeps what it accepts.
		optional("redis", at(&places.redis, object(
			optional("url", at(&places.redisURL, after(redisURLOf(&c.Redis.URL), func(v value) {
				l.notePassword(v, c.Redis.URL)
			}))),
			optional("wait_replicas", one(&c.Redis.WaitReplicas, wholeNumber(0, 100))),
		))),
		optional("kuaidihelp", l.kuaidihelp(&c.Kuaidihelp)),
		optional("subscriptions", subscriptions(&c.Subscriptions, &c.Kuaidihelp)),
		optional("spool", at(&places.spool, object(
			optional("dir", one(&c.Spool.Dir, text)),
			optional("max_bytes", at(&places.spoolMax, one(&c.Spool.MaxBytes, size))),
		))),
		optional("callback", at(&places.callback, object(
			required("tokens", after(l.callbackTokens(&c.Callback.Tokens), func(v value) { l.endsOf(v, c.Callback.Tokens) })),
			optional("allow_cidrs", at(&places.allowCIDRs, list(&c.Callback.AllowCIDRs, network))),
			optional("ack", one(&c.Callback.Ack, text)),
			optional("max_body", one(&c.Callback.MaxBody, size)),
			optional("silence", one(&c.Callback.Silence, durationOrZero)),
		))),

		// How long events are kept, and how they are delivered.
		optional("dedupe", object(
			optional("window", one(&c.Dedupe.Window, duration)),
			optional("bare_window", one(&c.Dedupe.BareWindow, duration)),
		)),
		optional("retention", at(&places.retention, one(&c.Retention, duration))),
		optional("dead_letter_retention", one(&c.DeadLetterRetention, duration)),
		optional("delivery", object(append(
			deliveryKeys(&c.Delivery),
			optional("orphan_grace", one(&c.Delivery.OrphanGrace, duration)),
		)...)),
		optional("egress", at(&places.egress, object(
			optional("allow_cidrs", after(list(&c.Egress.AllowCIDRs, network), func(v value) {
				openToAll(v, c.Egress.AllowCIDRs, "lets every tenant reach almost every address, "+
					"those of your own services too; list the networks that receivers are in")
			})),
			optional("tenant_cidrs", list(&c.Egress.TenantCIDRs, network)),
			optional("proxy", after(one(&c.Egress.Proxy, proxyURL), func(v value) { l.notePassword(v, c.Egress.Proxy) })),
		))),

		// The bounds, of each tenant and of all together.
		optional("limits", object(append(
			allowance(&c.Limits.Allowance),
			optional("connections", one(&c.Limits.Connections, wholeNumber(16, 1_000_000))),
			optional("parse_bytes", after(one(&c.Limits.ParseBytes, size), func(v value) {
				if c.Limits.ParseBytes < parseBodies*c.Callback.MaxBody {
					v.mistake("must be at least %d times callback.max_body", parseBodies)
				}
			})),
		)...)),
		optional("console", object(
			optional("tenants", one(&c.Console.Tenants, yesOrNo)),
			optional("session", one(&c.Console.Session, duration)),
			optional("timezone", one(&c.Console.Timezone, timeZone)),
			optional("language", one(&c.Console.Language, language)),
			optional("hosts", list(&c.Console.Hosts, hostName)),
			optional("history", one(&c.Console.History, historySpan)),
		)),

		optional("notices", l.notices(&c.Notices, false)),

		// The tenants come last: they inherit from what stands above.
		optional("tenants_dir", reader{shape: text.scalar(), fallback: defaultTenantsDir, read: func(v value) {
			l.tenantsDir = v
			c.TenantsDir = "" // it stays so if the value has a mistake
			one(&c.TenantsDir, text).read(v)
		}}),
		optional("tenants_env", list(&c.TenantsEnv, variableName)),
		optional("tenants_files", list(&c.TenantsFiles, text)),
		optional("tenants", each(&c.Tenants, l.tenant)),
	)
}

// deliveryKeys returns the keys of delivery, which an endpoint has again to override them.
func deliveryKeys(d *Delivery) []field {
	return []field{
		optional("timeout", one(&d.Timeout, attemptTimeout)),
		optional("retry", some(&d.Retry, duration)),
		optional("max_in_flight", one(&d.MaxInFlight, wholeNumber(1, 10_000))),
		optional("rate", one(&d.Rate, perSecond)),
		optional("max_age", one(&d.MaxAge, duration)),
		optional("max_backlog", one(&d.MaxBacklog, wholeNumber(1, 1_000_000_000))),
		optional("breaker", object(
			optional("failures", one(&d.Breaker.Failures, wholeNumber(0, 1_000_000))),
			optional("ratio", one(&d.Breaker.Ratio, share)),
			optional("window", one(&d.Breaker.Window, duration)),
			optional("cool_off", one(&d.Breaker.CoolOff, duration)),
			optional("max_cool_off", one(&d.Breaker.MaxCoolOff, duration)),
		)),
		optional("order", one(&d.Order, oneOf(OrderWaybill, OrderNone))),
	}
}

// tenant reads an item of tenants, or a whole file of tenants_dir.
func (l *loading) tenant(v value, t *Tenant) reader {
	*t = Tenant{Pos: v.position(), Limits: l.config.Subscriptions.Limits, Allowance: l.config.Limits.Allowance}

	endpointNames := map[string]Position{}
	return object(
		required("name", then(name(&t.Name, l.names), func() {
			if v.src.permissions != nil {
				v.src.permissions.tenant = t.Name
			}
		})),
		optional("api_keys", l.keysOf(&t.APIKeys, false)),
		optional("subscriptions", object(l.tenantLimits(&t.Limits)...)),
		optional("limits", object(l.tenantAllowance(&t.Allowance)...)),
		optional("watch", watch(&t.Watch)),
		optional("notices", l.notices(&t.Notices, true)),

		// Routes and tests name endpoints, so these come before them.
		optional("endpoints", each(&t.Endpoints, func(v value, e *Endpoint) reader {
			*e = Endpoint{Format: "standard", Delivery: l.config.Delivery, Pos: v.position()}
			return l.endpoint(t, e, endpointNames)
		})),
		optional("routes", each(&t.Routes, func(v value, r *Route) reader {
			*r = Route{Tenant: t.Name, Pos: v.position(), Index: len(t.Routes)}
			return object(
				required("to", targets(&r.To, t)),
				optional("match", l.match(&r.Match)),
				optional("when", when(&r.When, &r.Expanded)),
			)
		})),
		optional("tests", then(each(&t.Tests, func(v value, x *Test) reader {
			*x = Test{Tenant: t.Name, Pos: v.position()}
			return object(
				optional("name", written(&x.Name, text)),
				required("event", sample(x)),
				required("reaches", reader{shape: listOf(anyScalar, 0), read: func(v value) {
					endpointsOf(&x.Reaches, t, v.items())
				}}),
			)
		}), func() { t.Tests = slices.DeleteFunc(t.Tests, func(x Test) bool { return x.lacks }) })),
	)
}

func (l *loading) endpoint(t *Tenant, e *Endpoint, names map[string]Position) reader {
	var address value
	keys := []field{
		required("name", then(name(&e.Name, names), func() { e.ID = t.Name + "/" + e.Name })),
		required("url", at(&address, both(&e.URL, &e.Shown, endpointURL))),
		required("secrets", l.signingSecrets(&e.Secrets)),
		optional("format", one(&e.Format, oneOf("standard", "kuaidihelp"))),
		optional("headers", headersOfTenant(&e.Headers)),
		optional("allow_cidrs", ownNetworks(&e.AllowCIDRs)),
		optional("tls", tlsConfig(&e.TLS)),
	}

	return then(object(append(keys, l.endpointDelivery(&e.Delivery)...)...), func() {
		if e.URL != "" {
			allowed := slices.Concat(l.config.Egress.AllowCIDRs, e.AllowCIDRs)
			plain, err := l.checkAddress(e.URL, allowed, "none of egress.allow_cidrs and the endpoint's own")
			address.checked(err, plain)
		}
	})
}

func (l *loading) match(out **Match) reader {
	m, asWritten := &Match{}, &Match{}
	keys := object(
		optional("type", patterns(&m.Type, &asWritten.Type)),
		optional("cp_code", patterns(&m.CPCode, &asWritten.CPCode, l.doubt("cp_code"))),
		optional("status", patterns(&m.Status, &asWritten.Status, l.doubt("status"))),
		optional("waybill_code", patterns(&m.WaybillCode, &asWritten.WaybillCode)),
		optional("changed", one(&m.Changed, oneOf("status"))),
		optional("subscribed", one(&m.Subscribed, isTrue)),
	)

	return reader{fields: keys.fields, read: func(v value) {
		if v.isEmptyMapping() {
			v.mistake("is empty; leave match out to match every event")
		}

		keys.read(v)
		*out = m
		asWritten.Changed = m.Changed
		asWritten.Subscribed = m.Subscribed

		if !reflect.DeepEqual(m, asWritten) {
			m.Written = asWritten
		}
	}}
}

// patterns reads a pattern, or a list of at least one, and keeps them as they are written as well. Each is shown to
// the doubters.
func patterns(out, asWritten *[]string, doubters ...func(v value, pattern string)) reader {
	return reader{shape: oneOrListOf(text.scalar()), read: func(v value) {
		for _, item := range v.oneOrMore() {
			if s, ok := scalar(item, text); ok {
				*out = append(*out, s)
				*asWritten = append(*asWritten, item.node.Value)
				for _, doubt := range doubters {
					doubt(item, s)
				}
			}
		}
	}}
}

// doubt returns a check that warns of a pattern of a field of match that cannot hold, or is likely a slip. It is no
// mistake: values may come that are not known.
func (l *loading) doubt(field string) func(v value, pattern string) {
	return func(v value, pattern string) {
		written := v.node.Value
		if l.options.MatchMeans == nil || strings.Contains(pattern, "*") || v.lacks() {
			return
		}

		meant, known := l.options.MatchMeans(field, pattern)
		switch {
		case meant != "" && written != pattern: // what was put in is not shown, nor what is like it
			v.warn("%s is not known to come, once it is expanded", quote(written))
		case meant != "":
			v.warn("%s is not known to come; did you mean %q?", quote(written), meant)
		case written == pattern && len(known) > 0 && !slices.Contains(known, pattern):
			if hint := didYouMean(pattern, known); hint != "" {
				v.warn("%s is no known value%s", quote(written), hint)
			}
		}
	}
}

var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,30}$`)

// name reads the name of a tenant or an endpoint, which must not be used already. An invalid name is kept too, so
// that references to it are not called mistakes as well. Names stand in the log, in metrics and on pages, and decide
// what a tenant's file may use, so they must not be expanded.
func name(out *string, used map[string]Position) reader {
	return writtenOut(reader{shape: anyScalar, read: func(v value) {
		s, ok := v.text()
		if !ok {
			return
		}

		*out = s
		if !validName.MatchString(s) {
			v.mistake("must be 1 to 31 of a-z, 0-9, _ and -, and begin with a letter or digit")
		}

		if first, dup := used[s]; dup {
			v.mistake("this name is already used at %s", first)
			return
		}
		used[s] = v.position()
	}})
}

// targets reads the name of one of t's endpoints, or a list of at least one, and adds their IDs to out.
func targets(out *[]string, t *Tenant) reader {
	return reader{shape: oneOrListOf(anyScalar), read: func(v value) { endpointsOf(out, t, v.oneOrMore()) }}
}

// endpointsOf adds the IDs of t's endpoints that the items name to out.
func endpointsOf(out *[]string, t *Tenant, items []value) {
	for _, item := range items {
		s, ok := item.text()
		if !ok {
			continue
		}

		if !slices.ContainsFunc(t.Endpoints, func(e Endpoint) bool { return e.Name == s }) {
			var names []string
			for _, e := range t.Endpoints {
				names = append(names, e.Name)
			}
			item.mistake("this tenant has no endpoint %s%s", quote(item.node.Value), didYouMean(item.node.Value, names))
			continue
		}

		id := t.Name + "/" + s
		if slices.Contains(*out, id) {
			item.mistake("names the same endpoint twice")
			continue
		}

		*out = append(*out, id)
	}
}

// when reads an expression and has it checked by Options.CheckWhen.
func when(out *string, expanded *bool) reader {
	return reader{shape: anyScalar, read: func(v value) {
		s, ok := scalar(v, text)
		if !ok {
			return
		}

		*out = s
		*expanded = v.expanded()

		check := v.src.options.CheckWhen
		if check == nil || v.lacks() {
			return
		}
		v.checked(check(s), "is not a valid expression")
	}}
}
