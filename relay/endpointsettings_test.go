package relay

import (
	"crypto/tls"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"kuairelay/relay/config"
	"kuairelay/relay/event"
)

// A setting that is added to an endpoint has to be told in its log when it changes.
func TestEverySettingOfAnEndpointIsToldWhenItChanges(t *testing.T) {
	t.Parallel()
	elsewhere := []string{
		"Name", "ID", // another name is another endpoint
		"Pos",                  // not a setting
		"Delivery.OrphanGrace", // of all endpoints
	}
	var walk func(name string, index []int)
	walk = func(name string, index []int) {
		var e config.Endpoint
		v := reflect.ValueOf(&e).Elem().FieldByIndex(index)
		if slices.Contains(elsewhere, name) {
			return
		}
		if v.Kind() == reflect.Struct {
			for i := range v.NumField() {
				walk(name+"."+v.Type().Field(i).Name, append(slices.Clone(index), i))
			}
			return
		}
		before := writtenSettings(e)
		set(t, name, v)
		if e.TLS != nil {
			e.TLS.ServerName = "shop"
		}
		if len(settingChanges(before, writtenSettings(e))) != 1 {
			t.Errorf("%s is not told of an endpoint", name)
		}
	}
	for i := range reflect.TypeFor[config.Endpoint]().NumField() {
		walk(reflect.TypeFor[config.Endpoint]().Field(i).Name, []int{i})
	}
}

func TestWhatIsWrittenDownOfAnEndpointHoldsNoSecret(t *testing.T) {
	t.Parallel()
	e := config.Endpoint{
		URL:     "https://shop.example/hooks?token=hunter2",
		Shown:   "https://shop.example/hooks?token=hunter2",
		Secrets: []config.SigningSecret{{Secret: "whsec_hunter2"}},
		Headers: []config.Header{{Name: "x-team", Value: "hunter2"}},
		TLS:     &tls.Config{ServerName: "hunter2"}, //nolint:gosec // it is not used
	}
	before := writtenSettings(e)
	if strings.Contains(before, "hunter2") || strings.Contains(before, "x-team") {
		t.Errorf("%s", before)
	}

	e.Headers[0].Value = "hunter3"
	e.Delivery.Timeout = 15 * time.Second
	e.AllowCIDRs = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	want := []event.SettingChange{
		{Key: "allow_cidrs", Old: "[]", New: "[10.0.0.0/8]"}, {Key: "headers"}, {Key: "timeout", Old: "0s", New: "15s"},
	}
	if got := settingChanges(before, writtenSettings(e)); !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// Versions of the relay that know different settings work beside each other.
func TestASettingThatOneVersionDoesNotKnowHasNotChanged(t *testing.T) {
	t.Parallel()
	for _, texts := range [][2]string{
		{`{"timeout":"15s"}`, `{"timeout":"15s","new":"1"}`}, {`{"timeout":"15s","new":"1"}`, `{"timeout":"15s"}`},
		{`nonsense`, `{"timeout":"15s"}`},
	} {
		if got := settingChanges(texts[0], texts[1]); len(got) > 0 {
			t.Errorf("%v: %+v", texts, got)
		}
	}
	long := settingChanges(`{"retry":"`+strings.Repeat("1s ", 999)+`"}`, `{"retry":"1s"}`)
	if len(long) != 1 || len(long[0].Old) != settingMost || long[0].New != "1s" {
		t.Errorf("%+v", long)
	}
}

func TestTheSettingsOfAnEndpointNameTheSecretsThatSignNow(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	soon := now.Add(time.Hour)
	got := settingsOf(config.Endpoint{
		Secrets: []config.SigningSecret{
			{Secret: "a", Until: now.Add(-time.Hour)}, {Secret: "b", Until: soon}, {Secret: "c"},
		},
		Headers:  []config.Header{{Name: "x-team", Value: "hunter2"}},
		Delivery: config.Delivery{Retry: []time.Duration{5 * time.Second, 90 * time.Minute}},
	}, now)
	if len(got.Secrets) != 2 || !got.Secrets[0].Until.Equal(soon) || !got.Secrets[1].Until.IsZero() {
		t.Errorf("%+v", got.Secrets)
	}
	if !slices.Equal(got.Headers, []string{"x-team"}) || !slices.Equal(got.Retry, []string{"5s", "1h30m"}) ||
		got.AttemptsMax != 3 {
		t.Errorf("%+v", got)
	}
}
