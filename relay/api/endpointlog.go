package api

import (
	"time"

	"go.uber.org/zap"

	"kuairelay/relay/event"
)

// EndpointLog is what happened to an endpoint.
type EndpointLog struct {
	Entries []LogEntry `json:"entries" doc:"the latest first, at most 200"`
}

// LogEntry is one thing that happened to an endpoint, or that a person did with it.
type LogEntry struct {
	At      time.Time       `json:"at" doc:"when"`
	What    event.LogKind   `json:"what" doc:"opened or closed (its breaker), gone (it answered 410), paused, resumed, redriven, dismissed, resent, retried, replay_begun, replay_ended; added, changed or removed (in the config)"`
	By      string          `json:"by,omitempty" doc:"operator, or the tenant; none: the relay itself, or the config"`
	Key     string          `json:"key,omitempty" doc:"name of the key that was shown; of the operator's for the operator only"`
	From    string          `json:"from,omitempty" doc:"address that the request came from; of the operator's for the operator only"`
	N       int             `json:"n,omitempty" doc:"how many: attempts that failed in a row before the breaker opened, probes that failed before it closed, dead letters, deliveries that were resent or retried, or of a replay"`
	Of      int             `json:"of,omitempty" doc:"if the breaker opened by the share of failures: of how many attempts n failed"`
	Status  int             `json:"status,omitempty" doc:"HTTP status of the last answer; 0: none came"`
	Text    string          `json:"text,omitempty" doc:"beginning of that answer, or the error"`
	Replay  string          `json:"replay,omitempty" doc:"id of the replay"`
	Changes []SettingChange `json:"changes,omitempty" doc:"what the config has changed, by key"`
}

// SettingChange is a setting that the config has changed.
type SettingChange struct {
	Key string `json:"key" doc:"of the endpoint, as in the config"`
	Old string `json:"old,omitempty" doc:"value before; of url, headers, secrets and tls neither value is shown"`
	New string `json:"new,omitempty" doc:"value since then"`
}

// readEndpointLog gives the log of an endpoint.
func readEndpointLog(c *call) (EndpointLog, error) {
	name, err := c.endpointToRead()
	if err != nil {
		return EndpointLog{}, err
	}
	if err := c.reader().end(); err != nil {
		return EndpointLog{}, err
	}
	log, err := c.endpoints.EndpointLog(c.ctx(), name)
	if err != nil {
		return EndpointLog{}, c.failed("read the log of an endpoint", err)
	}

	out := EndpointLog{Entries: []LogEntry{}}
	for _, entry := range log {
		out.Entries = append(out.Entries, c.showLogEntry(entry))
	}
	return out, nil
}

// tell writes into the log of an endpoint what the caller has done. It is done, whatever comes of the log.
func (c *call) tell(endpoint string, e event.LogEntry) {
	e.By = c.actor()
	if err := c.endpoints.NoteEndpoint(c.ctx(), endpoint, e); err != nil {
		c.o.Logger.Warn("not written into the log of an endpoint", zap.String("endpoint", endpoint), zap.Error(err))
	}
}

// toldEndpoints is how many endpoints are told in their logs of a replay: one of more is not about any of them.
const toldEndpoints = 10

// Told are the endpoints whose logs tell of the replay.
func (p Plan) Told() []string { return replayedAt(p.Query.Endpoints, p.DryRun) }

// replayedAt are those of a replay's endpoints whose logs tell of it.
func replayedAt(endpoints []string, dryRun bool) []string {
	if dryRun || len(endpoints) > toldEndpoints {
		return nil
	}
	return endpoints
}

// showLogEntry gives an entry as the caller may see it: a tenant is not told with which key the operator came, nor from
// where.
func (c *call) showLogEntry(e event.LogEntry) LogEntry {
	out := LogEntry{
		At:     utc(e.At),
		What:   e.What,
		By:     e.By.Name,
		N:      e.N,
		Of:     e.Of,
		Status: e.Status,
		Text:   e.Text,
		Replay: e.Replay,
	}
	if c.tenant == "" || c.tenant == e.By.Name && e.By.Name != event.Operator { // a tenant may have that name
		out.Key = e.By.Key
		out.From = e.By.From
	}
	for _, change := range e.Changes {
		out.Changes = append(out.Changes, SettingChange(change))
	}
	return out
}
