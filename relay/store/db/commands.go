package db

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// A Redis that serves others well may refuse what the relay asks of it: it wants each key of a script to be named
// beforehand, lacks a command, or forbids it to the relay's user. That does not end by itself, so it is found before
// the first event is written, and named with its remedy.

const (
	adviceScripts  = "refuses_scripts"
	adviceCommands = "refuses_commands"
)

// refusals are errors by a part of their text. Alibaba Cloud's text is in its page "Lua scripting in Tair"; Dragonfly's
// in its own page "Scripting".
var refusals = []struct{ text, why, hint, advice string }{
	{"bad lua script for redis cluster", "it refuses scripts whose keys are not all in KEYS",
		"Alibaba Cloud Tair or Redis: set the instance's parameter script_check_enable to 0; all keys are in one slot",
		adviceScripts},
	{"undeclared key", "it refuses scripts that use keys which are not in KEYS",
		"Dragonfly: start it with --default_lua_flags=allow-undeclared-keys", adviceScripts},
	{"command eval not support", "it runs no scripts for this user",
		"Alibaba Cloud: upgrade the minor version of the instance", adviceScripts},
	{"access a key", "its user may not use the relay's keys (ACL)", remedyACL, adviceCommands},
	{"access one of the keys", "its user may not use the relay's keys (ACL)", remedyACL, adviceCommands},
	{"can't run this command", "its user may not run a command of a script (ACL)", remedyACL, adviceCommands},
}

const remedyACL = "docs/operator/redis.md has the rules that the user needs"

// forbidden is how Redis and Valkey name the command that a user may not run.
var forbidden = regexp.MustCompile(`no permissions to run the '([a-z|]+)' command`)

// refusalOf returns the trouble of a Redis that refuses what it is asked, by the text of its answer; nil: it is another
// error.
func refusalOf(text string, err error) *trouble {
	if m := forbidden.FindStringSubmatch(text); m != nil {
		return &trouble{state: Down, why: "its user may not run " + strings.ToUpper(m[1]) + " (ACL)", hint: remedyACL,
			advice: adviceCommands, cause: err}
	}
	for _, r := range refusals {
		if strings.Contains(text, r.text) {
			return &trouble{state: Down, why: r.why, hint: r.hint, advice: r.advice, cause: err}
		}
	}
	if strings.HasPrefix(text, "NOPERM") {
		return &trouble{state: Down, why: "it refuses a command to this user (ACL)", hint: remedyACL,
			advice: adviceCommands, cause: err}
	}
	return nil
}

// AdviceRefuses is the name of the advice about a Redis that refuses the relay for another reason than commands and
// scripts: its password, its user, or the kind of server that redis.url says it is.
const AdviceRefuses = "refuses"

// Refused says whether a Redis refuses what the relay needs, and names the advice: why, and what may help. ok is false
// if it refuses nothing, or cannot be asked. It leaves nothing behind in Redis.
func (d *DB) Refused(ctx context.Context) (advice, why, hint string, ok bool) {
	ctx = withoutGate(ctx)
	err := d.tryCommands(ctx)
	if err == nil {
		err = d.checkForm(ctx, false)
	}
	t := d.health.troubleOf(err)
	var answer redis.Error
	switch {
	case t == nil:
		return "", "", "", false
	case t.advice != "":
		return t.advice, t.why, t.hint, true
	case errors.As(t.cause, &answer) && t.state == Down:
		return AdviceRefuses, t.why, t.hint, true
	}
	return "", "", "", false
}

// tryCommands runs each command that the relay needs once. The error is a trouble that names those that Redis refuses.
func (d *DB) tryCommands(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	failed, err := commandsScript.Run(ctx, d.Client, []string{d.Prefix}).StringSlice()
	if err != nil {
		return fmt.Errorf("try the commands of redis: %w", err)
	}

	var refused, unknown []string
	for pair := range slices.Chunk(failed, 2) {
		switch command, text := pair[0], strings.ToLower(pair[len(pair)-1]); {
		case strings.Contains(text, "unknown"):
			unknown = append(unknown, command)
		case refusalOf(text, nil) != nil:
			refused = append(refused, command)
		}
	}
	switch {
	case len(failed) == 0:
		return nil
	case len(unknown) > 0:
		return &trouble{state: Down, why: "it does not know " + some(unknown), advice: adviceCommands,
			hint: "the relay needs Redis 6.2 or later, or Valkey: see docs/operator/redis.md"}
	case len(refused) > 0:
		return &trouble{state: Down, why: "its user may not run " + some(refused) + " (ACL)", advice: adviceCommands,
			hint: remedyACL}
	}
	return &trouble{state: Down, why: "it cannot run " + strings.Join(failed[:2], ": "), advice: adviceCommands}
}

// tried finds the commands that commands.lua tries.
var tried = regexp.MustCompile(`(?m)^(?:try|note)\('([A-Z]+)'`)

// ACL returns the rules of a user of Redis who may do what the relay needs, and nothing else, as in an ACL file.
func ACL() string {
	// To connect, also to a Cluster; to run scripts; redis.wait_replicas; Advice; kuairelay migrate.
	rules := []string{"+auth", "+hello", "+ping", "+select", "+cluster|slots", "+command", "+eval", "+evalsha", "+wait",
		"+info", "+config|get", "+scan", "+type", "+renamenx"}
	for _, m := range tried.FindAllStringSubmatch(luaFile(luaFiles, "commands"), -1) {
		if rule := "+" + strings.ToLower(m[1]); !slices.Contains(rules, rule) {
			rules = append(rules, rule)
		}
	}
	slices.Sort(rules)
	return "resetchannels ~{kuairelay}* -@all " + strings.Join(rules, " ")
}

// some names a few commands, and how many more there are.
func some(commands []string) string {
	const most = 6
	text := strings.Join(commands[:min(most, len(commands))], ", ")
	if more := len(commands) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
