package config

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// Notice says who is told when something needs a person.
type Notice struct {
	To     Secret // URL, which holds a token
	Format string // one of noticeFormats
	Secret Secret // to sign with; empty: none
	// On has codes and severities of problems; "all" is all of them.
	On       []string
	Every    time.Duration // at least between two messages that the same problem has begun
	Language string        // en or zh
	Pos      Position
}

var (
	noticeFormats = []string{"wecom", "feishu", "dingtalk", "slack", "webhook"}
	severities    = []string{"critical", "warning", "notice"}
)

const (
	// noticeLeast and noticeMost bound every.
	noticeLeast = time.Minute
	noticeMost  = 7 * 24 * time.Hour
	// receiversMost is how many receivers the operator may have, and each tenant in its own file.
	receiversMost       = 50
	tenantReceiversMost = 5
)

// notices reads a list of receivers: of the operator, or of a tenant. codes are those of problems that they may be told
// of.
func (l *loading) notices(out *[]Notice, tenant bool) reader {
	list := each(out, func(v value, n *Notice) reader {
		*n = Notice{On: []string{"critical", "warning"}, Every: 30 * time.Minute, Language: "zh", Pos: v.position()}
		var to, secret value
		keys := object(
			required("to", at(&to, one(&n.To, noticeURL))),
			required("format", one(&n.Format, oneOf(noticeFormats...))),
			optional("secret", at(&secret, one(&n.Secret, maybe(plainSecret)))),
			optional("on", l.noticeOn(&n.On, tenant)),
			optional("every", one(&n.Every, noticeEvery)),
			optional("language", one(&n.Language, oneOf("en", "zh"))),
		)
		return then(keys, func() { l.checkNotice(v, to, secret, n, tenant) })
	})
	return after(list, func(v value) {
		most := receiversMost
		if v.src.permissions != nil {
			most = tenantReceiversMost
		}
		if len(*out) > most {
			v.mistake("has more than %d receivers", most)
		}
	})
}

// checkNotice finds what does not go together.
func (l *loading) checkNotice(v, to, secret value, n *Notice, tenant bool) {
	own := n.Secret.Reveal()
	switch {
	case n.Format == "webhook" && own == "" && n.To != "":
		v.mistake("missing key %q: a webhook is signed", "secret")
	case own == "" || secret.lacks():
	case n.Format == "webhook":
		if _, err := parseSigningSecret(own); err != nil {
			secret.mistake("%v", err)
		} else {
			l.guard(secret, own)
		}
	case n.Format == "dingtalk" && !strings.HasPrefix(own, "SEC"):
		secret.mistake("must begin with SEC, as the robot's security settings show it")
	case n.Format == "wecom" || n.Format == "slack":
		secret.mistake("is of no use: messages of this format are not signed")
	}

	if n.To == "" {
		return
	}
	if readable(n.To.Reveal()) {
		to.warn("is plain http: the token in it can be read on the way")
	}
	allowed, lists := l.config.Egress.AllowCIDRs, "none of egress.allow_cidrs"
	if tenant {
		allowed = slices.Concat(l.config.Egress.TenantCIDRs, allowed)
		lists += " and egress.tenant_cidrs"
	}
	if plain, err := l.checkAddress(n.To.Reveal(), allowed, lists); err != nil {
		to.mistake("%s", plain) // the error may have a part of the address
	}
}

// noticeOn reads the codes and severities of problems.
func (l *loading) noticeOn(out *[]string, tenant bool) reader {
	r := list(out, text)
	r.shape = listOf(text.scalar(), 1)

	r.read = func(v value) {
		codes := l.options.ProblemCodes
		if tenant {
			codes = l.options.TenantProblemCodes
		}
		words := slices.Concat([]string{"all"}, severities, codes)

		*out = nil
		for _, item := range v.someItems() {
			s, ok := scalar(item, text)
			if !ok {
				continue
			}
			*out = append(*out, s)
			switch {
			case slices.Contains(words, s) || codes == nil:
			case item.expanded():
				item.mistake("is no code of a problem, once it is expanded")
			case slices.Contains(l.options.ProblemCodes, s):
				item.mistake("%s is no problem that tenants are told of", quote(s))
			default:
				item.mistake("%s is no code of a problem, no severity, and not all%s", quote(s), didYouMean(s, words))
			}
		}
	}
	return writtenOut(r)
}

// noticeURL takes the address of a receiver. It is a secret, for it holds a token.
var noticeURL = form[Secret]{func(s string) (Secret, error) {
	_, err := parseEndpointURL(s)
	return Secret(s), err
}, pattern(`^[Hh][Tt][Tt][Pp][Ss]?://`)}

// plainSecret is the secret of a receiver.
var plainSecret = form[Secret]{func(s string) (Secret, error) {
	if !printableWord.MatchString(s) {
		return "", errors.New("must be printable ASCII without spaces")
	}
	return Secret(s), nil
}, anyScalar}

// noticeEvery is the time between two messages about the same.
var noticeEvery = form[time.Duration]{func(s string) (time.Duration, error) {
	d, err := durationOrZero.parse(s)
	switch {
	case errors.Is(err, errUnit):
		return 0, errors.New("must be a duration from 1m to 7d, like 30m")
	case err != nil || d < noticeLeast || d > noticeMost:
		return 0, errors.New("must be from 1m to 7d")
	}
	return d, nil
}, duration.shape}
