package config

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Kuaidihelp is the shared account at the provider.
type Kuaidihelp struct {
	APIURL string // absolute, http or https
	AppID  string
	APIKey Secret // empty: there is none, and nothing can be subscribed
	// Methods are those of the provider's that tenants may call through POST /api.
	Methods     []string
	Rate        int           // calls per second, over all replicas
	Concurrency int           // calls at one time, per replica
	Timeout     time.Duration // of one call
	Query       Query
}

// Query bounds how often the provider is asked how waybills stand (express.info.get).
type Query struct {
	Rate        int           // calls per second, over all replicas
	DailyBudget int           // waybills a day, China time, over all replicas; 0: it is never asked
	MinInterval time.Duration // between two queries of the same waybill
}

// Subscriptions says how waybills are subscribed.
type Subscriptions struct {
	TTL       time.Duration // how long a waybill stays subscribed
	SignedTTL time.Duration // the same, after the parcel was signed for, or the provider refused it
	TSWindow  time.Duration // by how much the ts of a call to POST /api may differ from the time here
	Max       int           // waybills that a tenant has subscribed at one time
	NoRecord  NoRecord
	Reconcile Reconcile
	Limits    // the defaults of every tenant
}

// NoRecord says what becomes of a waybill of which the provider has no record yet.
type NoRecord struct {
	Retry []time.Duration // the pause after each such answer; then the waybill fails. Empty: it fails at once
}

// Reconcile says when the provider is asked how a live waybill stands, because no callback came for it.
type Reconcile struct {
	After            time.Duration // without an update for so long; 0: it is not asked
	ResubscribeAfter int           // answers that were news, before the waybill is subscribed again
	DryRun           bool          // only count what the answers would be
}

// Watch says what a tenant wants to be told of its subscriptions, beside what the provider pushes.
type Watch struct {
	NotCollected time.Duration // of a parcel without an update for so long since it was subscribed; 0: not
	Stalled      time.Duration // of one without an update for so long since the last; 0: not
	NotPickedUp  time.Duration // of one that waits at a pick-up point for so long; 0: not
	Lost         bool          // of a waybill that failed because the provider had no record of it
}

// Limits are what a tenant may ask for.
type Limits struct {
	Rate       int // requests per second, over all replicas; 0: any
	DailyQuota int // waybills a day, China time, over all replicas; 0: any
}

// noRecordPauses is how many pauses subscriptions.no_record.retry may have.
const noRecordPauses = 50

func subscribeDefaults() (Kuaidihelp, Subscriptions) {
	const day = 24 * time.Hour
	k := Kuaidihelp{
		APIURL:      "https://kop.kuaidihelp.com/api",
		Methods:     []string{"express.sub.msg"},
		Rate:        10,
		Concurrency: 4,
		Timeout:     5 * time.Second,
		Query:       Query{Rate: 1, MinInterval: 6 * time.Hour},
	}

	s := Subscriptions{
		TTL:       60 * day,
		SignedTTL: 7 * day,
		TSWindow:  10 * time.Minute,
		Max:       1_000_000,
		NoRecord: NoRecord{
			Retry: []time.Duration{30 * time.Minute, 2 * time.Hour, 6 * time.Hour, 12 * time.Hour, day, day},
		},
		Reconcile: Reconcile{ResubscribeAfter: 3},
		Limits:    Limits{Rate: 20},
	}

	return k, s
}

func (l *loading) kuaidihelp(k *Kuaidihelp) reader {
	keys := object(
		optional("api_url", after(one(&k.APIURL, endpointURL), func(v value) {
			if readable(k.APIURL) {
				v.warn("is plain http: waybills and phone numbers, and signs that others can use again, can be read on the way")
			}
		})),
		optional("app_id", one(&k.AppID, maybe(plainWord))),
		optional("api_key", after(one(&k.APIKey, maybe(apiKey)), func(v value) { l.notePlain(v, k.APIKey.Reveal()) })),
		optional("methods", writtenOut(some(&k.Methods, plainWord))), // it is told to tenants
		optional("rate", one(&k.Rate, wholeNumber(1, 10_000))),
		optional("concurrency", one(&k.Concurrency, wholeNumber(1, 1000))),
		optional("timeout", one(&k.Timeout, callTimeout)),
		optional("query", object(
			optional("rate", one(&k.Query.Rate, wholeNumber(1, 1000))),
			optional("daily_budget", one(&k.Query.DailyBudget, wholeNumber(0, 1_000_000_000))),
			optional("min_interval", one(&k.Query.MinInterval, duration)),
		)),
	)

	return reader{fields: keys.fields, section: keys.section, read: func(v value) {
		keys.read(v)
		switch {
		case k.APIKey != "" && k.AppID == "":
			v.mistake("app_id is missing: api_key alone signs nothing")
		case k.APIKey == "" && k.AppID != "":
			v.mistake("api_key is missing: app_id alone signs nothing")
		}
	}}
}

func subscriptions(s *Subscriptions, k *Kuaidihelp) reader {
	return object(append([]field{
		optional("ttl", one(&s.TTL, duration)),
		optional("signed_ttl", one(&s.SignedTTL, duration)),
		optional("ts_window", one(&s.TSWindow, duration)),
		optional("max", one(&s.Max, wholeNumber(1, 1_000_000_000))),
		optional("no_record", object(
			optional("retry", after(list(&s.NoRecord.Retry, duration), func(v value) {
				if len(s.NoRecord.Retry) > noRecordPauses {
					v.mistake("has more than %d pauses", noRecordPauses)
				}
			})),
		)),
		optional("reconcile", object(
			optional("after", after(one(&s.Reconcile.After, durationOrZero), func(v value) {
				if s.Reconcile.After > 0 && k.Query.DailyBudget == 0 {
					v.mistake("needs kuaidihelp.query.daily_budget, which is 0: kuaidihelp is never asked")
				}
			})),
			optional("resubscribe_after", one(&s.Reconcile.ResubscribeAfter, wholeNumber(1, 1000))),
			optional("dry_run", one(&s.Reconcile.DryRun, yesOrNo)),
		)),
	}, limits(&s.Limits)...)...)
}

func watch(w *Watch) reader {
	return object(
		optional("not_collected", one(&w.NotCollected, durationOrZero)),
		optional("stalled", one(&w.Stalled, durationOrZero)),
		optional("not_picked_up", one(&w.NotPickedUp, durationOrZero)),
		optional("lost", one(&w.Lost, yesOrNo)),
	)
}

// limits returns the keys that stand in subscriptions, and again in a tenant to override them there.
func limits(l *Limits) []field {
	return []field{
		optional("rate", one(&l.Rate, wholeNumber(0, 1_000_000))),
		optional("daily_quota", one(&l.DailyQuota, wholeNumber(0, 1_000_000_000))),
	}
}

// keysOf reads the API keys of a tenant, or the tokens of the operator. A key says who calls, so no two can be the
// same.
func (l *loading) keysOf(out *[]APIKey, operator bool) reader {
	return namedKeys(out, "key", apiKey, func(item value, k APIKey) bool {
		if first, dup := l.apiKeys[k.Key]; dup {
			item.mistake("this key is already used at %s", first)
			return false
		}
		l.apiKeys[k.Key] = item.position()
		l.guardLogin(item, k.Key.Reveal(), operator)
		return true
	})
}

// callbackTokens reads those of callback. At least one must have no until, so that kuaidihelp can always call.
func (l *loading) callbackTokens(out *[]APIKey) reader {
	read := namedKeys(out, "token", callbackToken, func(item value, k APIKey) bool {
		if secret := k.Key.Reveal(); l.guard(item, secret) && short(secret) {
			l.shortKey(item)
		}
		return true
	})
	return after(read, func(v value) {
		if len(*out) > 0 && !slices.ContainsFunc(*out, func(k APIKey) bool { return k.Until.IsZero() }) {
			v.mistake("at least one token must have no until, or one day kuaidihelp can call no more")
		}
	})
}

// namedKeys reads a list of at least one key, each as a text or as {key, name, until}, where word is the name of the
// key itself. take says whether it can be taken.
func namedKeys(out *[]APIKey, word string, f form[Secret], take func(item value, k APIKey) bool) reader {
	entry := func(k *APIKey, names map[string]Position) reader {
		return object(
			required(word, one(&k.Key, f)),
			optional("name", name(&k.Name, names)),
			optional("until", one(&k.Until, instant)),
		)
	}

	ofItems := func(entry shape) shape { return listOf(shape{"anyOf": []any{f.scalar(), entry}}, 1) }
	return reader{fields: entry(&APIKey{}, nil).fields, of: ofItems, read: func(v value) {
		names := map[string]Position{}
		for _, item := range v.someItems() {
			var k APIKey
			either(entry(&k, names), one(&k.Key, f)).read(item)
			if k.Key != "" && take(item, k) {
				*out = append(*out, k)
			}
		}
	}}
}

var printableWord = regexp.MustCompile(`^[!-~]+$`)

var plainWord = form[string]{func(s string) (string, error) {
	if !printableWord.MatchString(s) {
		return "", errors.New("must be printable ASCII without spaces")
	}
	return s, nil
}, anyScalar}

var apiKey = form[Secret]{func(s string) (Secret, error) {
	if len(s) < 8 || !printableWord.MatchString(s) {
		return "", errors.New("must be at least 8 characters of printable ASCII, without spaces")
	}
	return Secret(s), nil
}, shape{"type": []string{"string", "number"}, "minLength": 8}}

// maybe takes what f takes, and nothing.
func maybe[T any](f form[T]) form[T] {
	return form[T]{func(s string) (T, error) {
		if strings.TrimSpace(s) == "" {
			var none T
			return none, nil
		}
		return f.parse(s)
	}, anyScalar}
}

// callTimeout bounds a call. If the replica that makes it is killed, its waybills wait as long for another replica.
var callTimeout = form[time.Duration]{func(s string) (time.Duration, error) {
	d, err := duration.parse(s)
	if err == nil && d > 8*time.Second {
		err = errors.New("must be 8s at most")
	}
	return d, err
}, duration.shape}

var isTrue = form[bool]{func(s string) (bool, error) {
	if s != "true" {
		return false, errors.New("must be true, or left out")
	}
	return true, nil
}, shape{"const": true}}
