package db

import (
	"context"
	"strings"
	"testing"
	"time"

	"kuairelay/test/redisserver"
)

func TestACommandThatRedisLacksOrForbidsIsNamedBeforeAnythingIsWritten(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	old := redisserver.Start(t, "--rename-command", "ZMSCORE", "")
	why := func(server *redisserver.Server, rules ...string) string {
		t.Helper()
		user := append([]string{"ACL", "SETUSER", "relay", "reset", "on", ">secret"}, rules...)
		if _, err := server.Do(user...); err != nil {
			t.Fatal(err)
		}
		s, err := New(Options{URL: "redis://relay:secret@" + server.Addr, Timeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		state, why := Trouble(s.EnsureClock(ctx))
		if keys, err := server.Do("KEYS", "*"); err != nil || strings.TrimSpace(keys) != "" || state != Down {
			t.Errorf("%v: it is %s, and holds %q, %v", rules, state, keys, err)
		}
		return why
	}
	for _, c := range []struct {
		rules []string
		why   string
	}{
		{[]string{"-zadd", "-xadd"}, "its user may not run ZADD, XADD (ACL) (docs/operator/redis.md has"},
		{[]string{"-evalsha"}, "its user may not run EVALSHA (ACL) (docs/operator/redis.md has"},
		{[]string{"-eval"}, "its user may not run EVAL (ACL)"},
		{[]string{"-del"}, "its user may not run a command of a script (ACL)"},
		{[]string{"resetkeys", "~other:*"}, "its user may not use the relay's keys (ACL)"},
		{[]string{"-@all", "+hello", "+evalsha", "+eval", "+del"}, "SET, SETRANGE, GET, GETRANGE, STRLEN, MGET and"},
	} {
		if got := why(server, append(strings.Fields(ACL()), c.rules...)...); !strings.Contains(got, c.why) {
			t.Errorf("%v: %q; want %q", c.rules, got, c.why)
		}
	}
	if got := why(old, "~*", "+@all"); !strings.HasPrefix(got, "it does not know ZMSCORE (the relay needs Redis 6.2") {
		t.Errorf("an old one: %q", got)
	}
}

// A server or a proxy that checks the keys of scripts refuses those whose keys it does not see beforehand.
func TestARedisThatRefusesScriptsIsNamedWithItsRemedy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, why, advice string }{
		{"ERR bad lua script for redis cluster, all the keys that the script uses should be passed using the KEYS array",
			"set the instance's parameter script_check_enable to 0", adviceScripts},
		{"ERR Error running script (call to 5c4d62f4e30c): @user_script:2: script tried accessing undeclared key, key: k",
			"--default_lua_flags=allow-undeclared-keys", adviceScripts},
		{"ERR command eval not support for normal user", "upgrade the minor version", adviceScripts},
		{"ERR ACL failure in script: User kua has no permissions to run the 'zadd' command", "may not run ZADD",
			adviceCommands},
	} {
		s, err := New(Options{URL: "redis://" + answers(t, strings.Repeat("-"+c.text+"\r\n", 20)), Timeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		if state, why := Trouble(s.EnsureClock(t.Context())); state != Down || !strings.Contains(why, c.why) {
			t.Errorf("%s: it is %s, %q", c.text, state, why)
		}
		if advice, err := s.Advice(t.Context()); err != nil || !strings.Contains(advice[c.advice], c.why) {
			t.Errorf("%s: advice %v, %v", c.text, advice, err)
		}
	}
}
