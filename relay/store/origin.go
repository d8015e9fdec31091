package store

import (
	"strconv"
	"strings"

	"kuairelay/relay/event"
)

// replicaMost bounds what is stored of a replica's name: its end, which tells replicas apart.
const replicaMost = 24

// forms are how a callback may be written, each by a letter.
var forms = [...]struct{ letter, name string }{
	{"j", event.FormJSON}, {"u", event.FormURLEncoded}, {"m", event.FormMultipart},
}

// appendOrigin packs what is kept of an event's callback, and the config that it was matched by, into few bytes:
// "<id> <address> <form><item>/<items> <replica> <config>", each of them "-" if it is not known, and then its trace, if
// it has one. lua/accept.lua reads the id, which has no prefix. No character of it needs an escape in JSON.
func appendOrigin(b []byte, e *event.Event) []byte {
	o := e.Origin
	if o == nil {
		o = &event.Origin{}
	}
	b = appendWord(b, strings.TrimPrefix(o.ID, event.CallbackPrefix))
	b = appendWord(append(b, ' '), o.From)

	form := "-"
	for _, f := range forms {
		if f.name == o.Form {
			form = f.letter
		}
	}
	b = append(append(b, ' '), form...)
	b = strconv.AppendInt(b, int64(e.Item), 10)
	b = strconv.AppendInt(append(b, '/'), int64(o.Items), 10)

	b = appendWord(append(b, ' '), o.Replica[max(0, len(o.Replica)-replicaMost):])
	b = appendWord(append(b, ' '), e.Config)
	if o.Trace != "" {
		b = appendWord(append(b, ' '), string(o.Trace))
	}
	return b
}

// appendWord appends a text as one word of letters, digits and a few signs.
func appendWord(b []byte, text string) []byte {
	if text == "" {
		return append(b, '-')
	}
	for i := range len(text) {
		c := text[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && strings.IndexByte(".:-", c) < 0 {
			c = '_'
		}
		b = append(b, c)
	}
	return b
}

// readOrigin is the inverse of appendOrigin. What an older version has stored has no origin.
func readOrigin(text string, e *event.Event) {
	words := strings.Fields(text)
	if len(words) < len([...]string{"id", "address", "place", "replica", "config"}) {
		return
	}
	id, from, place, replica, config := words[0], words[1], words[2], words[3], words[4]
	e.Config = wordOf(config)
	if wordOf(id) == "" {
		return
	}

	o := &event.Origin{ID: event.CallbackPrefix + id, From: wordOf(from), Replica: wordOf(replica)}
	if len(words) > 5 {
		o.Trace = event.Trace(words[5])
	}
	item, items, _ := strings.Cut(place[1:], "/")
	e.Item, _ = strconv.Atoi(item) // what cannot be read stays 0
	o.Items, _ = strconv.Atoi(items)
	for _, f := range forms {
		if f.letter == place[:1] {
			o.Form = f.name
		}
	}
	e.Origin = o
}

// wordOf is what appendWord has written: empty for "-".
func wordOf(word string) string {
	if word == "-" {
		return ""
	}
	return word
}
