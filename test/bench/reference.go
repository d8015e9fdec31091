package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/labstack/echo/v4"

	"kuairelay/relay/signature"
)

// These two references do no more than the physics ask. What the relay does beyond them is what it costs.

// postOptions say what a post loop posts.
type postOptions struct {
	URL      string        `json:"url"`
	Run      int           `json:"run"`
	Workers  int           `json:"workers"`
	Duration time.Duration `json:"duration"`
}

// posted is what a post loop did.
type posted struct {
	Posts   int     `json:"posts"`
	Seconds float64 `json:"seconds"`
	CPU     float64 `json:"cpu"` // seconds
}

// runPostLoop is the part "postloop": it posts signed bodies as fast as they are answered, and prints what it did.
func runPostLoop(ctx context.Context, text []byte, out io.Writer) error {
	var o postOptions
	if err := json.Unmarshal(text, &o); err != nil {
		return err
	}
	made, err := newCallbacks(o.Run, false)
	if err != nil {
		return err
	}
	key, err := signature.ParseKey(secret)
	if err != nil {
		return err
	}
	keys, client := []signature.Key{key}, newClient(o.Workers)
	var workers sync.WaitGroup
	var next atomic.Int64
	errs := make([]error, o.Workers)
	cpu, started := cpuOfSelf(), time.Now()
	for w := range o.Workers {
		workers.Go(func() {
			var body []byte
			for errs[w] == nil && time.Since(started) < o.Duration {
				serial := int(next.Add(1)) - 1
				now := time.Now()
				body = made.appendTo(body[:0], now.UnixNano(), serial, 1)
				id := fmt.Sprintf("evt_%016x%048x", serial+1, 0)
				errs[w] = post(ctx, client, o.URL, body, signed(keys, id, now, body))
			}
		})
	}
	workers.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(posted{Posts: int(next.Load()), Seconds: time.Since(started).Seconds(),
		CPU: cpuOfSelf() - cpu})
}

// signed is the header of a delivery, as a relay signs it.
func signed(keys []signature.Key, id string, now time.Time, body []byte) http.Header {
	return http.Header{
		"Content-Type":      {"application/json"},
		"Webhook-Id":        {id},
		"Webhook-Timestamp": {strconv.FormatInt(now.Unix(), 10)},
		"Webhook-Signature": {signature.Sign(keys, id, now, body)},
	}
}

// bodyOf reads a callback as it came.
func bodyOf(c echo.Context) ([]byte, error) {
	body := make([]byte, c.Request().ContentLength)
	_, err := io.ReadFull(c.Request().Body, body)
	return body, err
}

func post(ctx context.Context, client *http.Client, url string, body []byte, header http.Header) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header = header
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err = io.Copy(io.Discard, resp.Body); err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("a post was answered %s", resp.Status)
	}
	return err
}

func cpuOfSelf() float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // cannot fail with these arguments
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// forwarderOptions say where the forwarder posts to.
type forwarderOptions struct {
	URLs []string `json:"urls"`
}

const (
	forwarderWorkers = 32
	forwarderQueue   = 1024
)

// runForwarder is the part "forwarder": it posts every callback as it came to every URL, from memory. It answers as
// soon as its workers have taken the callback over.
func runForwarder(ctx context.Context, text []byte, out io.Writer) error {
	var o forwarderOptions
	if err := json.Unmarshal(text, &o); err != nil {
		return err
	}
	type job struct {
		url  string
		body []byte
	}
	queue, client := make(chan job, forwarderQueue), newClient(forwarderWorkers)
	header := http.Header{"Content-Type": {"application/json"}}
	for range forwarderWorkers {
		go func() {
			for j := range queue {
				if err := post(ctx, client, j.url, j.body, header); err != nil && ctx.Err() == nil {
					panic(err) // the benchmark fails: a delivery is lost
				}
			}
		}()
	}
	e := echo.New()
	e.POST("/callback/:token", func(c echo.Context) error {
		body, err := bodyOf(c)
		if err != nil {
			return err
		}
		for _, url := range o.URLs {
			queue <- job{url, body}
		}
		return c.String(http.StatusOK, "success")
	})
	return serve(ctx, e, out)
}
