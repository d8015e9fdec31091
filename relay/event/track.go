package event

import (
	"strings"
	"time"
)

// China is the zone of the provider's times, which name none.
var China = time.FixedZone("UTC+8", 8*60*60)

// The forms of a track's time, the usual one first. Go reads "9" where the layout has "15", "1" or "4", and "09" too.
var (
	dashed  = []string{"2006-1-2 15:4:5", "2006-1-2 15:4"}
	slashed = []string{"2006/1/2 15:4:5", "2006/1/2 15:4"}
	iso     = []string{"2006-1-2T15:4:5", "2006-01-02T15:04:05Z07:00"}
	digits  = []string{"20060102150405"}
)

// layouts returns the layouts that text may have. Only those are tried: each one that fails costs an error of some
// hundred bytes.
func layouts(text string) []string {
	const shortest, longest = len("2006-1-2 1:1"), len("2006-01-02T15:04:05.123456789+08:00")
	switch {
	case len(text) < shortest || len(text) > longest:
		return nil
	case text[4] == '/':
		return slashed
	case text[4] != '-':
		return digits
	case strings.Contains(text, "T"):
		return iso
	default:
		return dashed
	}
}

// At reads the time of a track, a display string, as China's time unless it names another zone. It returns false if
// the text is not a time.
func (t Track) At() (time.Time, bool) {
	text := strings.TrimSpace(t.Time)
	for _, layout := range layouts(text) {
		if at, err := time.ParseInLocation(layout, text, China); err == nil {
			return at.In(China), true
		}
	}
	return time.Time{}, false
}
