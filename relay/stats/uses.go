package stats

import (
	"cmp"
	"crypto/sha256"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Uses is a metric that says when each of several secrets was last used, so that one knows which may go. It shows a
// secret by its name or, without one, by its place in the config, from 1 on.
type Uses struct {
	last *prometheus.GaugeVec

	mu   sync.Mutex
	sums map[string][sha256.Size]byte // of the secrets, by their labels
}

// Used is a secret with its name; empty: it has none.
type Used struct{ Secret, Name string }

// NewUses makes a metric without secrets, with the label token.
func NewUses(name, help string) *Uses {
	return &Uses{last: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{"token"})}
}

// Describe implements prometheus.Collector.
func (u *Uses) Describe(ch chan<- *prometheus.Desc) { u.last.Describe(ch) }

// Collect implements prometheus.Collector.
func (u *Uses) Collect(ch chan<- prometheus.Metric) { u.last.Collect(ch) }

// Use has the metric show these secrets and no others. Of a secret that had the same label before, it keeps what it
// knows.
func (u *Uses) Use(secrets []Used) {
	u.mu.Lock()
	defer u.mu.Unlock()
	before := u.sums
	u.sums = make(map[string][sha256.Size]byte)
	for i, s := range secrets {
		label, sum := labelOf(i, s.Name), sha256.Sum256([]byte(s.Secret))
		u.sums[label] = sum
		if known, ok := before[label]; !ok || known != sum {
			u.last.WithLabelValues(label).Set(0)
		}
	}
	for label := range before {
		if _, stays := u.sums[label]; !stays {
			u.last.DeleteLabelValues(label)
		}
	}
}

// Mark notes that the secret of a place, from 0 on, with a name was used.
func (u *Uses) Mark(place int, name string, at time.Time) {
	label := labelOf(place, name)
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, known := u.sums[label]; known { // or it was taken out meanwhile
		u.last.WithLabelValues(label).Set(float64(at.UnixMilli()) / 1000)
	}
}

func labelOf(place int, name string) string { return cmp.Or(name, strconv.Itoa(place+1)) }
