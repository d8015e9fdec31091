package browser

import (
	"fmt"
	"regexp"
	"strconv"
)

// doCommands gives how many commands Redis has done so far, those of scripts too.
func doCommands(s *stage, _ struct{}) (any, error) {
	said, err := s.redis.Do("INFO", "commandstats")
	if err != nil {
		return nil, err
	}
	n := 0
	for _, m := range regexp.MustCompile(`calls=(\d+)`).FindAllStringSubmatch(fmt.Sprint(said), -1) {
		calls, err := strconv.Atoi(m[1])
		if err != nil {
			return nil, err
		}
		n += calls
	}
	return n, nil
}
