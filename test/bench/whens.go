package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// whens is the case of a tenant whose expressions take as long as they may, for every event. Calm is what another
// tenant's events get without it.
const (
	whens = "whens"

	hostileRoutes = 20
	nine          = `[1,2,3,4,5,6,7,8,9]`
	// hostileWhen looks at some thousand numbers, and matches nothing.
	hostileWhen = `any(` + nine + `, any(` + nine + `, any(` + nine + `, any(` + nine + `, # > 9))))`
)

func (r results) whenBars() []bar {
	if !r.has(whens) {
		return nil
	}
	p99, calm := r.of(whens, func(f figures) float64 { return f.Latency.P99 }),
		r.of(whens, func(f figures) float64 { return f.Calm.P99 })
	return []bar{{name: whens, what: "p99 of another tenant beside 20 expressions that cost all they may, by that before",
		measured: millis(p99), reference: millis(calm),
		value: r.of(whens, func(f figures) float64 { return f.Latency.P99 / f.Calm.P99 }),
		limit: 1.5, most: true, show: plain}}
}

func measureWhens(ctx context.Context, s *session) (f figures, err error) {
	st, calm, err := s.calm(ctx, whens)
	if err != nil {
		return f, err
	}
	defer st.close()

	st.process.Kill()
	hostile := fmt.Sprintf("  - name: hostile\n    endpoints: [{name: e0, secrets: [%s], url: '%s'}]\n    routes:\n",
		secret, s.urls(1)[0])
	hostile += strings.Repeat(fmt.Sprintf("      - {to: e0, when: '%s'}\n", hostileWhen), hostileRoutes)
	err = st.launch(ctx, s.small()+hostile)
	if err != nil {
		return f, err
	}
	err = s.warm(ctx, st, 1)
	f, besideErr := s.beside(ctx, st)
	f.Calm = calm.Latency
	return f, errors.Join(err, besideErr)
}
