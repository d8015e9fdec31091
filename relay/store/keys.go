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
func (s *Store) rareKey(short string) string           { return s.db.Key("f:" + short) }
func (s *Store) recordKey(waybill string) string       { return s.db.Key("w:" + waybill) }
func (s *Store) entryKey(w event.Waybill) string       { return s.db.Key("s:" + subscriptions.Entry(w)) }
func (s *Store) quarantinedKey(id string) string       { return s.db.Key("z:" + id) }
func (s *Store) replicaKey(id string) string           { return s.db.Key("rep:" + id) }

const (
	idPrefix = "evt_"
	// hashLength is how long the hash of an event is in base64url, and shortHash how much of it keys have.
	hashLength = 43
	shortHash  = 14
)

// hashOf returns an event id with its hash in base64url, 43 characters instead of 68, and the occurrence as it is.
func hashOf(id string) (string, error) {
	digits, occurrence, _ := strings.Cut(strings.TrimPrefix(id, idPrefix), "-")
	sum, err := hex.DecodeString(digits)
	if err != nil || len(sum) != 32 || !strings.HasPrefix(id, idPrefix) {
		return "", fmt.Errorf("not an event id: %q", id)
	}
	hash := base64.RawURLEncoding.EncodeToString(sum)
	if occurrence != "" {
		hash += "-" + occurrence
	}
	return hash, nil
}

// shortID returns the form of an event id that keys have: the first 84 bits of the hash, and the occurrence.
func shortID(id string) (string, error) {
	hash, err := hashOf(id)
	if err != nil {
		return "", err
	}
	return hash[:shortHash] + hash[hashLength:], nil
}

// shortIDs is shortID of each, as arguments of a script.
func shortIDs(ids []string) (shorts []any, err error) {
	shorts = make([]any, len(ids))
	for i, id := range ids {
		if shorts[i], err = shortID(id); err != nil {
			return nil, err
		}
	}
	return shorts, nil
}

// joinID returns the event id of a short one and of the rest of its hash; empty if that is none.
func joinID(short, rest string) string {
	n := min(len(short), shortHash)
	id, err := longID(short[:n] + rest + short[n:])
	if err != nil {
		return ""
	}
	return id
}

// longID is the inverse of hashOf. The hash may hold a "-" itself.
func longID(hash string) (string, error) {
	if len(hash) < hashLength {
		return "", fmt.Errorf("not a stored event id: %q", hash)
	}
	sum, err := base64.RawURLEncoding.DecodeString(hash[:hashLength])
	if err != nil {
		return "", fmt.Errorf("not a stored event id: %q", hash)
	}
	return idPrefix + hex.EncodeToString(sum) + hash[hashLength:], nil
}
