package browser

import (
	"fmt"
	"os"
	"strings"
)

// doSpool breaks the spool of a relay, or mends it: a file takes the place of its folder. large restarts the relay with
// a spool that may hold more than any disk has, small with the usual one.
func doSpool(s *stage, ask struct {
	Relay int
	Do    string // break, mend, large, small
}) (any, error) {
	r := s.relays[ask.Relay]
	dir := r.own["STAGE_SPOOL"]
	const usual, large = "'${STAGE_SPOOL}'}", "'${STAGE_SPOOL}', max_bytes: 1000000GiB}"
	switch ask.Do {
	case "break":
		if err := os.Rename(dir, dir+".away"); err != nil {
			return nil, err
		}
		return nil, os.WriteFile(dir, nil, 0o600)
	case "mend":
		if err := os.Remove(dir); err != nil {
			return nil, err
		}
		return nil, os.Rename(dir+".away", dir)
	case "large":
		r.head = strings.Replace(r.head, usual, large, 1)
	case "small":
		r.head = strings.Replace(r.head, large, usual, 1)
	default:
		return nil, fmt.Errorf("a spool cannot %q", ask.Do)
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	if err := r.write(); err != nil {
		return nil, err
	}
	return nil, r.start()
}
