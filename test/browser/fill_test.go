package browser

import (
	"cmp"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// doFill pushes many updates, each of a waybill of its own: as fast as the relay takes them, or so many a second for so
// long. It gives how many were accepted, and how long that took.
func doFill(s *stage, ask struct {
	Updates  int
	Rate     int    // a second; 0: as fast as it goes
	Status   string // default sending
	Brand    string // default yd
	Together int    // in a callback; default 100
	Prefix   string // of waybills; default F
}) (any, error) {
	began := time.Now()
	together := cmp.Or(ask.Together, 100)
	next := make(chan int)
	go func() {
		defer close(next)
		for from := 0; from < ask.Updates; from += together {
			if ask.Rate > 0 {
				at := began.Add(time.Duration(from) * time.Second / time.Duration(ask.Rate))
				time.Sleep(time.Until(at)) // the rate is what was asked for
			}
			next <- from
		}
	}()

	var accepted atomic.Int64
	var failed error
	var once sync.Once
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			for from := range next {
				var items []string
				for i := from; i < min(from+together, ask.Updates); i++ {
					items = append(items, update{
						Waybill: fmt.Sprintf("%s%07d", cmp.Or(ask.Prefix, "F"), i), Brand: cmp.Or(ask.Brand, "yd"),
						Status: cmp.Or(ask.Status, "sending"),
					}.item())
				}
				said, err := s.push(0, "application/json", `{"type":"express_sub_msg","data":[`+strings.Join(items, ",")+`]}`)
				if err == nil && said.Status != 200 {
					err = fmt.Errorf("a callback is answered %d %s", said.Status, said.Body)
				}
				if err != nil {
					once.Do(func() { failed = err })
					continue
				}
				accepted.Add(int64(len(items)))
			}
		})
	}
	work.Wait()
	return map[string]any{"accepted": accepted.Load(), "took": time.Since(began).Milliseconds()}, failed
}
