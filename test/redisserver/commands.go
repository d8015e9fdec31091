package redisserver

import (
	"slices"
	"strconv"
	"strings"
)

// Command is how often a server ran a command, from a client or from a script, and how long that took altogether. The
// time of a script (evalsha) includes that of the commands in it.
type Command struct{ Calls, Micros int64 }

// Commands gives what the server has run so far, by name.
func (s *Server) Commands() (map[string]Command, error) {
	info, err := s.Info("commandstats")
	if err != nil {
		return nil, err
	}
	out := make(map[string]Command)
	for name, value := range info {
		fields := make(map[string]int64)
		for pair := range strings.SplitSeq(value, ",") {
			name, number, _ := strings.Cut(pair, "=")
			fields[name], _ = strconv.ParseInt(number, 10, 64) // some are no whole numbers
		}
		out[strings.TrimPrefix(name, "cmdstat_")] = Command{Calls: fields["calls"], Micros: fields["usec"]}
	}
	return out, nil
}

// Calls counts the commands that the server has run so far, those of scripts too; with names only the ones of these.
func (s *Server) Calls(names ...string) (int, error) {
	all, err := s.Commands()
	if err != nil {
		return 0, err
	}
	sum := 0
	for name, c := range all {
		if len(names) == 0 || slices.Contains(names, name) {
			sum += int(c.Calls)
		}
	}
	return sum, nil
}

// Info gives a section of INFO, by the names of its values.
func (s *Server) Info(section string) (map[string]string, error) {
	text, err := s.Do("INFO", section)
	if err != nil {
		return nil, err
	}
	out := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			out[name] = value
		}
	}
	return out, nil
}
