package browser

import (
	"fmt"
	"net/http/httptest"

	"kuairelay/relay/kuaidihelp/fake"
)

// doProvider has the relays subscribe waybills at a played kuaidihelp from now on.
func doProvider(s *stage, _ struct{}) (any, error) {
	provider := httptest.NewServer(fake.NewProvider(fake.Options{AppID: "100", APIKey: "key-at-the-provider"}))
	s.cleanup(provider.Close)
	_, err := s.change("", nil, fmt.Sprintf(
		"kuaidihelp: {api_url: '%s', app_id: '100', api_key: key-at-the-provider}\n", provider.URL))
	if err != nil {
		return nil, err
	}
	for _, r := range s.relays {
		if err := r.end(); err != nil {
			return nil, err
		}
		if err := r.write(); err != nil {
			return nil, err
		}
		if err := r.start(); err != nil {
			return nil, err
		}
	}
	return nil, nil
}
