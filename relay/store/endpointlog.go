package store

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/event"
	"kuairelay/relay/store/db"
)

// storedEntry is an entry as the log of an endpoint has it in Redis. The script settle writes some of them too.
type storedEntry struct {
	At      int64         `json:"t"` // ms
	What    event.LogKind `json:"k"`
	By      string        `json:"by,omitempty"`
	Key     string        `json:"key,omitempty"`
	From    string        `json:"from,omitempty"`
	N       int           `json:"n,omitempty"`
	Of      int           `json:"of,omitempty"`
	Status  int           `json:"s,omitempty"`
	Text    string        `json:"m,omitempty"`
	Replay  string        `json:"r,omitempty"`
	Changes [][3]string   `json:"c,omitempty"` // key, old, new
	Call    string        `json:"x,omitempty"` // that wrote it
}

// encodeLogEntry writes an entry as the log has it. call names the call that writes it; empty: no other entry takes its
// place.
func encodeLogEntry(e event.LogEntry, now time.Time, call string) string {
	stored := storedEntry{
		Call:   call,
		At:     now.UnixMilli(),
		What:   e.What,
		By:     e.By.Name,
		Key:    e.By.Key,
		From:   e.By.From,
		N:      e.N,
		Of:     e.Of,
		Status: e.Status,
		Text:   e.Text,
		Replay: e.Replay,
	}
	for _, c := range e.Changes {
		stored.Changes = append(stored.Changes, [3]string{c.Key, c.Old, c.New})
	}
	text, _ := json.Marshal(stored) // it has nothing that cannot be written
	return string(text)
}

// readLogEntry is the inverse of encodeLogEntry. It says no to what is no entry.
func readLogEntry(text string) (event.LogEntry, bool) {
	var stored storedEntry
	if json.Unmarshal([]byte(text), &stored) != nil {
		return event.LogEntry{}, false
	}
	e := event.LogEntry{
		At:     time.UnixMilli(stored.At),
		What:   stored.What,
		By:     event.Actor{Name: stored.By, Key: stored.Key, From: stored.From},
		N:      stored.N,
		Of:     stored.Of,
		Status: stored.Status,
		Text:   strings.TrimRight(stored.Text, "\uFFFD"), // it may be cut within a character
		Replay: stored.Replay,
	}
	for _, c := range stored.Changes {
		e.Changes = append(e.Changes, event.SettingChange{Key: c[0], Old: c[1], New: c[2]})
	}
	return e, true
}

// EndpointLog returns what happened to an endpoint, the latest first: at most 200 entries.
func (s *Store) EndpointLog(ctx context.Context, endpoint string) (log []event.LogEntry, err error) {
	defer db.Wrap(&err, "read the log of an endpoint")
	var entries *redis.StringSliceCmd
	err = s.db.Slices(ctx, 1, 1, func(p redis.Pipeliner, _ int) {
		entries = p.LRange(ctx, s.endpointLogKey(endpoint), 0, -1)
	})
	if err != nil {
		return nil, err
	}
	for _, text := range entries.Val() {
		if e, ok := readLogEntry(text); ok {
			log = append(log, e)
		}
	}
	return log, nil
}

// NoteEndpoint writes an entry into the log of an endpoint, at the present time. Dead letters that the same person
// redrives or dismisses within ten minutes of others are added to that entry.
func (s *Store) NoteEndpoint(ctx context.Context, endpoint string, e event.LogEntry) (err error) {
	defer db.Wrap(&err, "write into the log of an endpoint")
	_, err = s.db.Call(ctx, noteScript, 1, endpoint, s.logLife(), encodeLogEntry(e, s.db.Now(), s.db.NewCall()))
	return err
}

// logLife is how long (ms) the log of an endpoint lives after its latest entry if no config has the endpoint.
func (s *Store) logLife() int64 {
	set := s.settings()
	return max(set.Retention, set.DeadLetterRetention).Milliseconds()
}

// SettingsChange is how the settings of an endpoint have changed, as texts that only their writer understands.
type SettingsChange struct {
	Endpoint string
	// Before is what was written down (empty: nothing), and After is what they are (empty: no config has the endpoint).
	Before, After string
	// Entry is for the log of the endpoint; nil: there is none.
	Entry *event.LogEntry
}

// KnownSettings returns what is written down of the settings of endpoints, by their names; nil: of all that there are.
func (s *Store) KnownSettings(ctx context.Context, names []string) (known map[string]string, err error) {
	defer db.Wrap(&err, "read the settings that endpoints had")
	known = make(map[string]string)
	if names == nil {
		return known, s.allSettings(ctx, known)
	}

	texts := make([]*redis.StringCmd, len(names))
	err = s.db.Slices(ctx, len(names), db.SliceCommands, func(p redis.Pipeliner, i int) {
		texts[i] = p.HGet(ctx, s.db.Key("settings"), names[i])
	})
	if err != nil {
		return nil, err
	}
	for i, name := range names {
		if text := texts[i].Val(); text != "" {
			known[name] = text
		}
	}
	return known, nil
}

// allSettings reads what is written down of the settings of all endpoints.
func (s *Store) allSettings(ctx context.Context, into map[string]string) error {
	cursor := uint64(0)
	for {
		var fields []string
		err := s.db.InTurn(ctx, func(ctx context.Context) (err error) {
			fields, cursor, err = s.db.Client.HScan(ctx, s.db.Key("settings"), cursor, "", db.SliceCommands).Result()
			return err
		})
		if err != nil {
			return err
		}
		for pair := range slices.Chunk(fields, 2) {
			into[pair[0]] = pair[1]
		}
		if cursor == 0 {
			return nil
		}
	}
}

// ChangeSettings writes down how the settings of endpoints have changed. A change that another replica has written down
// already is left out, so that a log has it once.
func (s *Store) ChangeSettings(ctx context.Context, changes []SettingsChange) (err error) {
	defer db.Wrap(&err, "write down the settings of endpoints")
	const most = db.SliceCommands / 2 // each takes at least two
	for part := range slices.Chunk(changes, most) {
		args := []any{s.logLife()}
		for _, c := range part {
			entry := ""
			if c.Entry != nil {
				entry = encodeLogEntry(*c.Entry, s.db.Now(), "")
			}
			args = append(args, c.Endpoint, c.Before, c.After, entry)
		}
		err := s.db.InTurn(ctx, func(ctx context.Context) error {
			_, err := s.db.Call(ctx, settingsScript, 1, args...)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
