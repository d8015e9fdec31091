package kuaidihelp

import (
	"time"

	"kuairelay/relay/event"
)

// maxAhead is how far the time of a track may be after its callback came. A later time comes from a wrong clock, and
// would make every later update look late.
const maxAhead = 24 * time.Hour

// newestTrack gives the time of the newest track; zero: no track has a time that can be read.
func newestTrack(tracks []event.Track, receivedAt time.Time) time.Time {
	var newest time.Time
	plain := "" // the newest time in the usual form, which sorts as text
	for _, t := range tracks {
		if isPlainTime(t.Time) && t.Time <= plain {
			continue
		}
		at, ok := t.At()
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

// isPlainTime says whether text has the length and the separators of "2022-03-24 09:12:31".
func isPlainTime(text string) bool {
	return len(text) == len(time.DateTime) &&
		text[4] == '-' && text[7] == '-' && text[10] == ' ' && text[13] == ':' && text[16] == ':'
}
