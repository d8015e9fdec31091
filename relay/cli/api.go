package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const (
	// adminVariable is where config.example.yaml looks for the operator's token, exampleAdmin what it takes otherwise.
	adminVariable = "KUAIRELAY_ADMIN_TOKEN"
	exampleAdmin  = "example-admin-token-change-me"
	// apiKeyVariable may hold the key of a tenant, who then calls instead of the operator.
	apiKeyVariable = "KUAIRELAY_API_KEY"
	maxAnswer      = 64 << 20 // bytes
)

// client calls the API of a relay, as the operator or as a tenant.
type client struct {
	base   string // URL of the relay, with the prefix of the API
	key    string // the operator's token, or a tenant's API key
	tenant bool   // it is a tenant's
	http   *http.Client
}

// apiFlags are the flags of every command that calls a relay.
type apiFlags struct {
	url, token, key string

	to, keyFile string // of subscribe only: the old name of --url, and a file with the key
}

func addAPIFlags(cmd *cobra.Command) *apiFlags {
	f := &apiFlags{}
	flags := cmd.Flags()
	flags.StringVar(&f.url, "url", "",
		"the relay's `URL`; default http://127.0.0.1:8081, for a tenant http://127.0.0.1:8080")
	flags.StringVar(&f.token, "token", "",
		"the operator's `TOKEN`; default "+adminVariable+", or that of config.example.yaml")
	flags.StringVar(&f.key, "key", "",
		"a tenant's API `KEY`, to see what the tenant sees; default "+apiKeyVariable)
	return f
}

func (f *apiFlags) client() (*client, error) {
	if f.token != "" && f.key != "" {
		return nil, usagef("--token is the operator's and --key a tenant's: not both")
	}

	key := f.key
	if f.token == "" && key == "" {
		key = os.Getenv(apiKeyVariable)
	}

	if key != "" {
		return f.clientOf(key, true)
	}
	return f.clientOf(cmp.Or(f.token, os.Getenv(adminVariable)), false)
}

// addTenantFlags adds the flags of a command that only a tenant can use: as addAPIFlags does, without --token.
func addTenantFlags(cmd *cobra.Command) *apiFlags {
	f := &apiFlags{}
	flags := cmd.Flags()
	flags.StringVar(&f.url, "url", "", "the relay's `URL`; default http://127.0.0.1:8080")
	flags.StringVar(&f.key, "key", "", "the tenant's API `KEY`; default "+apiKeyVariable)
	flags.StringVar(&f.keyFile, "key-file", "", "a `FILE` that holds the tenant's API key")
	flags.StringVar(&f.to, "to", "", "the same as --url")
	_ = flags.MarkHidden("to") // it fails only if there is no such flag
	return f
}

// tenantClient is client for a command that only a tenant can use.
func (f *apiFlags) tenantClient() (*client, error) {
	switch {
	case f.url != "" && f.to != "":
		return nil, usagef("--to is the same as --url: not both")
	case f.key != "" && f.keyFile != "":
		return nil, usagef("--key and --key-file: not both")
	}

	// The variable of config.example.yaml counts last: it belongs to one installation.
	key := cmp.Or(f.key, os.Getenv(apiKeyVariable), os.Getenv(keyVariable))
	if f.keyFile != "" {
		text, err := os.ReadFile(f.keyFile)
		if err != nil {
			return nil, err
		}
		key = strings.TrimSpace(string(text))
		if key == "" {
			return nil, usagef("--key-file: %s is empty", f.keyFile)
		}
	}

	return f.clientOf(key, true)
}

// caller is what differs between the operator and a tenant who call a relay.
type caller struct {
	flag, variable string // where the key may be given
	example        string // the key in config.example.yaml
	base, prefix   string // of the API: its address on this machine, and its path
}

var (
	operatorCaller = caller{
		flag: "--token", variable: adminVariable, example: exampleAdmin, base: "http://127.0.0.1:8081", prefix: "/admin/v1",
	}
	tenantCaller = caller{
		flag: "--key", variable: apiKeyVariable, example: exampleKey, base: "http://127.0.0.1:8080", prefix: "/v1",
	}
)

// clientOf returns a client with the key of a tenant or of the operator. Without a key it takes that of
// config.example.yaml, but only for a relay on this machine: anywhere else a forgotten key is an error.
func (f *apiFlags) clientOf(key string, tenant bool) (*client, error) {
	is := operatorCaller
	if tenant {
		is = tenantCaller
	}

	// The error about a URL names the flag that it came from.
	name := "--url"
	if f.to != "" {
		name = "--to"
	}
	u, err := httpURL(name, cmp.Or(f.url, f.to, is.base))
	if err != nil {
		return nil, err
	}

	// The example's key is public, so it only works for a relay on this machine.
	if key == "" {
		if !isLoopback(u.Hostname()) {
			return nil, usagef("no key for the relay at %s: give %s, or set %s", u.Host, is.flag, is.variable)
		}
		key = is.example
	}

	return &client{
		base:   strings.TrimSuffix(u.String(), "/") + is.prefix,
		key:    key,
		tenant: tenant,
		http:   httpClient(1, time.Minute),
	}, nil
}

func isLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// runs makes the command call run with a client, its arguments, and whether the output is JSON.
func (f *apiFlags) runs(cmd *cobra.Command, run func(cmd *cobra.Command, c *client, args []string, asJSON bool) error) {
	output := outputFlag(cmd)

	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := f.client()
		if err != nil {
			return err
		}
		return run(cmd, c, args, output.isJSON())
	}
}

// call makes a request, and decodes the answer into out; a *[]byte gets it as it is. An answer other than 2xx is an
// error that says what to do. A request that exceeded the rate limit is repeated up to five times.
func (c *client) call(ctx context.Context, method, path string, query url.Values, body, out any) error {
	var content []byte
	if body != nil {
		var err error
		if content, err = json.Marshal(body); err != nil {
			return err
		}
	}

	address := c.base + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}

	for again := 0; ; again++ {
		response, text, err := c.send(ctx, method, address, content) //nolint:bodyclose // send has closed it
		if err != nil {
			return err
		}

		// A list has many pages, and a tenant few requests a second.
		if wait := comeAgain(response); wait > 0 && again < 5 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(wait):
			}
			continue
		}

		host := response.Request.URL.Host
		if response.StatusCode/100 != 2 {
			return c.explain(host, response, text)
		}

		if plain, ok := out.(*[]byte); ok { // it is no JSON
			*plain = text
			return nil
		}
		if err := json.Unmarshal(text, out); err != nil {
			return fmt.Errorf("%s does not answer as a relay does", host)
		}

		return nil
	}
}

// send makes one request, and reads its whole answer.
func (c *client) send(ctx context.Context, method, address string, content []byte) (*http.Response, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(content))
	if err != nil {
		return nil, nil, err
	}

	request.Header.Set("Authorization", "Bearer "+c.key)
	response, err := c.http.Do(request)
	if err != nil {
		return nil, nil, fmt.Errorf("no relay answers at %s: %s (is it running? kuairelay serve -c FILE)",
			request.URL.Host, why(err))
	}
	defer response.Body.Close()

	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, nil, fmt.Errorf("the relay at %s: %s", request.URL.Host, why(err))
	}
	return response, text, nil
}

// comeAgain returns after how long to repeat a request that exceeded the rate limit; 0: it is not to be repeated.
func comeAgain(response *http.Response) time.Duration {
	seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
	if response.StatusCode != http.StatusTooManyRequests || err != nil || seconds > 5 {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// explain turns an answer other than 2xx into an error that says what to do.
func (c *client) explain(host string, response *http.Response, text []byte) error {
	var problem struct{ Detail string }
	_ = json.Unmarshal(text, &problem) // one without detail is no problem document, or says nothing

	after := response.Header.Get("Retry-After")
	if problem.Detail != "" && after != "" && !strings.Contains(problem.Detail, "try again") {
		problem.Detail += "; try again in " + after + " s"
	}

	switch {
	case response.StatusCode == http.StatusUnauthorized && c.tenant:
		return fmt.Errorf("the relay does not know this key (--key, or %s in the environment)", apiKeyVariable)
	case response.StatusCode == http.StatusUnauthorized:
		return fmt.Errorf("the relay does not take this token (--token, or %s in the environment)", adminVariable)
	case problem.Detail != "":
		return errors.New(problem.Detail)
	case response.StatusCode == http.StatusNotFound:
		return fmt.Errorf("%s has no such API: the operator's is on admin.listen, a tenant's (--key) on server.listen", host)
	}

	return fmt.Errorf("the relay at %s answers %s: %s", host, response.Status, oneLine(text))
}

func (c *client) get(ctx context.Context, path string, query url.Values, out any) error {
	return c.call(ctx, http.MethodGet, path, query, nil, out)
}

func (c *client) post(ctx context.Context, path string, body, out any) error {
	return c.call(ctx, http.MethodPost, path, nil, body, out)
}

// pages gets a list page by page, at most most items; split returns the items of a page and the cursor of the next one.
func pages[P, T any](
	ctx context.Context, c *client, path string, q url.Values, most int, split func(P) (items []T, next string),
) ([]T, error) {
	if most < 1 {
		return nil, usagef("--number must be at least 1")
	}

	all := []T{}
	for items, err := range eachPage(ctx, c, path, q, most, split) {
		if err != nil {
			return nil, err
		}
		all = append(all, items...)
	}
	return all, nil
}

// eachPage yields what pages returns, one page at a time. An error is the last thing that it yields.
func eachPage[P, T any](
	ctx context.Context, c *client, path string, q url.Values, most int, split func(P) (items []T, next string),
) iter.Seq2[[]T, error] {
	return func(yield func([]T, error) bool) {
		for most > 0 {
			q.Set("limit", strconv.Itoa(min(500, most)))
			var page P
			if err := c.get(ctx, path, q, &page); err != nil {
				yield(nil, err)
				return
			}

			items, next := split(page)
			if !yield(items, nil) || next == "" {
				return
			}
			most -= len(items)
			q.Set("cursor", next)
		}
	}
}

// numberFlag adds -n, how many items a list shows.
func numberFlag(cmd *cobra.Command) *int {
	return cmd.Flags().IntP("number", "n", 50, "how many to list")
}

// endpointPath returns the path of an endpoint. The operator names it tenant/name. A tenant may leave its own name
// out; the relay checks that the endpoint is the tenant's.
func (c *client) endpointPath(full string) (string, error) {
	tenant, name, named := strings.Cut(full, "/")
	switch {
	case c.tenant:
		return "/endpoints/" + url.PathEscape(full), nil
	case !named || tenant == "" || name == "":
		return "", usagef("%q does not say whose: TENANT/ENDPOINT, as in shop/orders", full)
	}

	return "/endpoints/" + url.PathEscape(tenant) + "/" + url.PathEscape(name), nil
}
