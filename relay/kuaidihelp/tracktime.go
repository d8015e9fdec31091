package kuaidihelp

import (
	"strings"
	"time"

	"kuairelay/relay/event"
)

// china is the zone of the provider's times, which name none.
var china = time.FixedZone("UTC+8", 8*60*60)

// The forms of a track's time, the usual one first. Go reads "9" where the layout has "15", "1" or "4", and "09" too.
var (
	dashed  = []string{"2006-1-2 15:4:5", "2006-1-2 15:4"}
	slashed = []string{"2006/1/2 15:4:5", "2006/1/2 15:4"}
	iso     = []string{"2006-1-2T15:4:5", "2006-01-02T15:04:05Z07:00"}
	digits  = []string{"20060102150405"}
)

// layouts gives the forms that text may have. Each that it has not costs an error of some hundred bytes.
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

// trackTime reads the time of a track: a display string, by the clock of China unless it names another zone.
func trackTime(text string) (time.Time, bool) {
	text = strings.TrimSpace(text)
	for _, layout := range layouts(text) {
		if t, err := time.ParseInLocation(layout, text, china); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// maxAhead is how far a track may be ahead of the callback that brings it. One that says more is a slip of somebody's clock, and
// would make every update after it look late.
const maxAhead = 24 * time.Hour

// newestTrack is when the newest track was; zero if no track has a time that can be read.
func newestTrack(tracks []event.Track, receivedAt time.Time) time.Time {
	var newest time.Time
	plain := "" // the newest that has the usual form, which sorts as text
	for _, t := range tracks {
		if isPlainTime(t.Time) && t.Time <= plain {
			continue
		}
		at, ok := trackTime(t.Time)
		if !ok || at.After(receivedAt.Add(maxAhead)) {
			continue
		}
		if isPlainTime(t.Time) {
			plain = t.Time
		}
		if at.After(newest) {
			newest = at
		}
	}
	return newest
}

// isPlainTime says whether text is as long as "2022-03-24 09:12:31", and has its separators in their places.
func isPlainTime(text string) bool {
	return len(text) == len(time.DateTime) && text[4] == '-' && text[7] == '-' && text[10] == ' ' && text[13] == ':' && text[16] == ':'
}
