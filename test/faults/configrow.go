package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// brokenConfig breaks a relay's config again and again, in turn in one of several ways, and has it read in one of
// several.
func brokenConfig(s *stage) {
	r := s.relay(relayOptions{redis: s.redis().URL()})
	s.push(r)
	good, err := os.ReadFile(r.config)
	s.must(err)
	ways := []struct{ what, text, want string }{
		{"half a file", string(good[:len(good)/2]) + "{", ""},
		{"an unknown key", string(good) + "nonsense: 1\n", "unknown key"},
		{"a variable that is not set", strings.Replace(string(good), "["+token+"]", `["${KUAIRELAY_NOT_SET_ANYWHERE}"]`, 1),
			"KUAIRELAY_NOT_SET_ANYWHERE"},
		{"a route to nowhere", strings.Replace(string(good), "{to: all", "{to: nowhere", 1), "nowhere"},
		{"an address that is always refused", strings.Replace(string(good), s.endpoints[0].url(), "http://169.254.169.254/",
			1), "169.254.169.254"},
	}
	times := max(s.kills, 2*len(ways))
	for i := range times {
		s.some()
		way := ways[i%len(ways)]
		s.replace(r.config, way.text)
		switch i % 3 {
		case 0:
			r.signal(syscall.SIGHUP)
		case 1:
			status, answer := post(s.ctx, r.admin+"/-/reload", "")
			if status != http.StatusUnprocessableEntity || !strings.Contains(answer, way.want) {
				s.failf("%s: POST /-/reload answers %d %s", way.what, status, answer)
			}
		case 2: // it finds the change by itself
		}
		s.await(way.what+" is noticed", func() error { return r.reloaded("failed", 0) })
		if i%len(ways) < 4 {
			s.await("the log names the line", func() error {
				if r.logged(filepath.Base(r.config)+":") == 0 {
					return fmt.Errorf("%s: it does not", way.what)
				}
				return nil
			})
		}
		s.resumes() // by the config from before
		s.replace(r.config, fmt.Sprintf("%s# mended %d\n", good, i))
		s.await("the mended config is taken", func() error { return r.reloaded("ok", 1) })
	}
	s.finish(times, 0)
}

// reloaded returns nil if /readyz and the metric say so of the last reload.
func (r *relay) reloaded(want string, metric float64) error {
	state, err := r.ready()
	if err == nil && (state.Config.Reload != want || (want == "failed") != (state.Status == "degraded")) {
		err = fmt.Errorf("/readyz says %+v", state)
	}
	if err == nil && r.metric("kuairelay_config_last_reload_successful") != metric {
		err = errors.New("the metric does not say so")
	}
	return err
}

// replace puts a text in place of a file, so that nobody reads a half of it.
func (s *stage) replace(file, text string) {
	s.must(os.WriteFile(file+".new", []byte(text), 0o600))
	s.must(os.Rename(file+".new", file))
}
