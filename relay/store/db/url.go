package db

import (
	"errors"
	"net/url"
	"regexp"
	"strings"

	"github.com/redis/go-redis/v9"
)

// These errors never repeat a part of the URL: if a password is not encoded, a part of it looks like a host, a path, or
// an option.
var (
	errURLEncoding = errors.New("is not a URL; in a user or password write % as %25, / as %2F, ? as %3F, # as %23, " +
		"@ as %40 and a space as %20")
	errURLFragment = errors.New("holds a #, and what is behind it would be dropped; in a password write it as %23")
	errURLPassword = errors.New("has an @ behind a / or ?; in a password write / as %2F, ? as %3F, # as %23 " +
		"and @ as %40")
	errURLDatabase = errors.New("must end behind the host, or in / and the number of a database")
	errURLOptions  = errors.New("has an option behind ? that is not known, or not with this value (they are those of " +
		"go-redis: master_name and addr, dial_timeout, read_timeout, write_timeout, pool_size, min_idle_conns, protocol, " +
		"client_name, skip_verify, …)")
)

var database = regexp.MustCompile(`^/?[0-9]{0,5}$`)

// CheckURL says what is wrong with a URL of Redis, without repeating any of it. It opens no connection.
func CheckURL(rawURL string) error {
	_, err := parseURL(rawURL)
	return err
}

// parseURL reads a URL in the forms of go-redis, and returns *redis.Options, *redis.FailoverOptions or
// *redis.ClusterOptions.
func parseURL(rawURL string) (any, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, errURLEncoding
	}
	if strings.Contains(rawURL, "#") {
		return nil, errURLFragment
	}
	if u.Scheme != "unix" {
		switch beforeQuery, query, _ := strings.Cut(rawURL, "?"); {
		case strings.Contains(u.EscapedPath(), "@"), u.User == nil && strings.Contains(query, "@"),
			strings.Count(beforeQuery, "@") > 1:
			return nil, errURLPassword
		case !database.MatchString(u.Path):
			return nil, errURLDatabase
		}
	}

	var out any
	switch q := u.Query(); {
	case q.Has("master_name"):
		out, err = redis.ParseFailoverURL(rawURL)
	case q.Has("addr"):
		out, err = redis.ParseClusterURL(rawURL)
	default:
		out, err = redis.ParseURL(rawURL)
	}
	if err != nil {
		return nil, errURLOptions // its own error repeats them
	}
	return out, nil
}
