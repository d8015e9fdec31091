package api

import (
	"context"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/ledger"
	"kuairelay/relay/queue"
	"kuairelay/relay/stats"
)

// Store is what the API needs of the store; package store says what each method does. Handlers use its parts, one for
// each kind of thing.
type Store interface {
	eventStore
	endpointStore
	deadLetterStore
	replayStore
	quarantineStore
	subscriptionStore
	statsStore
	auditStore
	Now() time.Time
	Aside(ctx context.Context) (end func())
}

type eventStore interface {
	Events(ctx context.Context, q event.Query) (event.Page, error)
	EventsByID(ctx context.Context, ids []string) ([]*event.Record, error)
	FillData(ctx context.Context, events []*event.Record, most int64) (int, error)
	Event(ctx context.Context, id, tenant string) (*event.Record, bool, error)
	EventWithoutData(ctx context.Context, id, tenant string) (*event.Record, bool, error)
	Waybill(ctx context.Context, code, tenant string) ([]*event.Record, error)
	LatestOfWaybill(ctx context.Context, code, tenant string, most int) ([]*event.Record, error)
	DuplicateOf(ctx context.Context, e *event.Event) (id string, at time.Time, ok bool, err error)
	Remembered(ctx context.Context, code string, brands []string) (event.Remembered, bool, error)
	Resend(ctx context.Context, endpoint, id string) (queued bool, err error)
}

type endpointStore interface {
	Busy(ctx context.Context) ([]queue.BusyEndpoint, error)
	LastDelivered(ctx context.Context, endpoints []string) ([]time.Time, error)
	Health(ctx context.Context, endpoints []string, latest int) ([]queue.EndpointHealth, error)
	Attempts(ctx context.Context, q queue.AttemptsQuery) (page []queue.EndpointAttempt, next string, err error)
	NoteEndpoint(ctx context.Context, endpoint string, e event.LogEntry) error
	EndpointLog(ctx context.Context, endpoint string) ([]event.LogEntry, error)
	Park(ctx context.Context, endpoint string, by event.Actor) error
	Resume(ctx context.Context, endpoint string, by event.Actor) error
	Retry(ctx context.Context, endpoint string, ids ...string) (queue.Retried, error)
	RetryAll(ctx context.Context, endpoint, cursor string, most int) (out queue.Retried, next string, err error)
}

type deadLetterStore interface {
	DeadLetters(ctx context.Context, endpoints []string, cursor string, most int) ([]event.DeadLetter, string, error)
	CountDeadLetters(ctx context.Context, endpoints []string, since, until time.Time) (int, error)
	Redrive(ctx context.Context, endpoint string, ids ...string) (int, error)
	Dismiss(ctx context.Context, endpoint string, ids ...string) (int, error)
}

type replayStore interface {
	NewReplay(ctx context.Context, r event.Replay) (event.Replay, error)
	Replays(ctx context.Context, tenant, cursor string, most int) ([]event.Replay, string, error)
	OpenReplays(ctx context.Context) ([]event.OpenReplay, error)
	Replay(ctx context.Context, id string) (*event.Replay, bool, error)
	CancelReplay(ctx context.Context, id, why string) (bool, error)
}

type quarantineStore interface {
	Quarantined(ctx context.Context, offset, most int) (page []event.Quarantined, next int, err error)
	CountQuarantined(ctx context.Context, since time.Time) (event.QuarantineCount, error)
	QuarantinedByID(ctx context.Context, id string) (*event.Quarantined, bool, error)
	FindQuarantined(ctx context.Context, texts []string, most int) (map[string][]event.Quarantined, error)
	Unquarantine(ctx context.Context, ids ...string) (int, error)
}

type subscriptionStore interface {
	Subscription(ctx context.Context, tenant string, w event.Waybill) (ledger.Subscription, bool, error)
	Subscriptions(ctx context.Context, tenant, from string, most int) ([]ledger.Subscription, string, error)
	WaybillSubscriptions(ctx context.Context, code string, brands []string, tenant string) ([]ledger.Subscription, error)
	CountSubscriptions(ctx context.Context, tenant string, most int) (ledger.Counts, error)
	Subscribers(ctx context.Context) ([]string, error)
	Unsubscribe(ctx context.Context, tenant string, w event.Waybill) (bool, error)
}

type statsStore interface {
	Stats(ctx context.Context, pages []stats.Page) ([]map[string]string, error)
}

type auditStore interface {
	Note(ctx context.Context, a event.Act) error
	Acts(ctx context.Context, q event.ActQuery) (page []event.Act, next string, err error)
}

// stores are the parts of a Store.
type stores struct {
	events        eventStore
	endpoints     endpointStore
	deadLetters   deadLetterStore
	replays       replayStore
	quarantine    quarantineStore
	subscriptions subscriptionStore
	stats         statsStore
	audit         auditStore
	now           func() time.Time
	aside         func(ctx context.Context) (end func())
}

func partsOf(s Store) stores {
	return stores{
		events:        s,
		endpoints:     s,
		deadLetters:   s,
		replays:       s,
		quarantine:    s,
		subscriptions: s,
		stats:         s,
		audit:         s,
		now:           s.Now,
		aside:         s.Aside,
	}
}
