package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"time"
)

// viewers are people who have the operator's pages open: every second one the overview, the others the events. Each
// asks for the changing part of its page as often as a browser does, with the tag of what it has.
type viewers struct {
	stop    context.CancelFunc
	looking sync.WaitGroup

	mu  sync.Mutex
	err error // the first mistake of a page
}

// openPages logs in as often as there are viewers, and has each look at its page from now on.
func openPages(ctx context.Context, admin string, n int) (*viewers, error) {
	ctx, stop := context.WithCancel(ctx)
	v := &viewers{stop: stop}
	jar, err := cookiejar.New(nil)
	if err != nil {
		stop()
		return nil, err
	}
	client := &http.Client{Jar: jar, Transport: &http.Transport{MaxIdleConnsPerHost: n}}

	form := url.Values{"key": {adminToken}}.Encode()
	login, err := http.NewRequestWithContext(ctx, http.MethodPost, admin+"/login", strings.NewReader(form))
	if err == nil {
		login.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		login.Header.Set("Origin", admin)
		_, err = look(client, login)
	}
	if err != nil {
		stop()
		return nil, fmt.Errorf("log in to the pages: %w", err)
	}

	for i := range n {
		page, pace := "/?part=main", 5*time.Second
		if i%2 == 1 {
			page, pace = "/events?part=main", 2*time.Second
		}
		v.looking.Go(func() { v.watch(ctx, client, admin+page, pace, time.Duration(i)*pace/time.Duration(n)) })
	}
	return v, nil
}

// watch asks for a page until ctx ends. The first time is after the delay, so that viewers do not ask all at once.
func (v *viewers) watch(ctx context.Context, client *http.Client, page string, pace, delay time.Duration) {
	tag := ""
	for wait := delay; ; wait = pace {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
		if err == nil {
			req.Header.Set("If-None-Match", tag)
			tag, err = look(client, req)
		}
		if err != nil && ctx.Err() == nil {
			v.mu.Lock()
			v.err = errors.Join(v.err, fmt.Errorf("a viewer: %w", err))
			v.mu.Unlock()
			return
		}
	}
}

// look makes a request, and gives the tag of its answer.
func look(client *http.Client, req *http.Request) (tag string, err error) {
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return "", err
	}
	if resp.StatusCode == http.StatusNotModified {
		return req.Header.Get("If-None-Match"), nil
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return "", fmt.Errorf("%s answers %s", req.URL.Path, resp.Status)
	}
	return resp.Header.Get("ETag"), nil
}

// close ends the looking, and gives the first mistake of a page.
func (v *viewers) close() error {
	v.stop()
	v.looking.Wait()
	return v.err
}
