package store

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"

	"kuairelay/relay/event"
	"kuairelay/relay/store/subscriptions"
)

// The keys of a store; db/lua/lib/base.lua says what each holds.
func (s *Store) queueKey(endpoint string) string       { return s.db.Key("q:" + endpoint) }
func (s *Store) deadKey(endpoint string) string        { return s.db.Key("x:" + endpoint) }
func (s *Store) failedKey(endpoint string) string      { return s.db.Key("a:" + endpoint) }
func (s *Store) endpointLogKey(endpoint string) string { return s.db.Key("h:" + endpoint) }
func (s *Store) deliveredKey(endpoint string) string   { return s.db.Key("d:" + endpoint) }
func (s *Store) eventKey(short string) string          { return s.db.Key("e:" + short) }
func (s *Store) bodyKey(short string) string           { return s.db.Key("b:" + short) }
func (s *Store) recordKey(waybill string) string       { return s.db.Key("w:" + waybill) }
func (s *Store) entryKey(w event.Waybill) string       { return s.db.Key("s:" + subscriptions.Entry(w)) }
func (s *Store) quarantinedKey(id string) string       { return s.db.Key("z:" + id) }
func (s *Store) replicaKey(id string) string           { return s.db.Key("rep:" + id) }

const idPrefix = "evt_"

// shortID returns the form of an event id in Redis, 43 characters instead of 68: the hash in base64url, and the
// occurrence as it is.
func shortID(id string) (string, error) {
	digits, occurrence, _ := strings.Cut(strings.TrimPrefix(id, idPrefix), "-")
	sum, err := hex.DecodeString(digits)
	if err != nil || len(sum) != 32 || !strings.HasPrefix(id, idPrefix) {
		return "", fmt.Errorf("not an event id: %q", id)
	}
	short := base64.RawURLEncoding.EncodeToString(sum)
	if occurrence != "" {
		short += "-" + occurrence
	}
	return short, nil
}

// longID is the inverse of shortID. The base64 part has 43 characters, and may hold a "-" itself.
func longID(short string) (string, error) {
	if len(short) < 43 {
		return "", fmt.Errorf("not a stored event id: %q", short)
	}
	sum, err := base64.RawURLEncoding.DecodeString(short[:43])
	if err != nil {
		return "", fmt.Errorf("not a stored event id: %q", short)
	}
	return idPrefix + hex.EncodeToString(sum) + short[43:], nil
}
