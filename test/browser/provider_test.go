package browser

import (
	"fmt"
	"net/http/httptest"
	"regexp"
	"slices"

	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/kuaidihelp/fake"
)

var anyProvider = regexp.MustCompile(`(?m)^kuaidihelp: .*\n`)

// doProvider has the relays subscribe waybills at a played kuaidihelp from now on. It has no record of the waybills
// that are Unknown, and takes those that are Wrong for no numbers of the brand.
func doProvider(s *stage, ask struct{ Unknown, Wrong []string }) (any, error) {
	some := func(c fake.Call, codes []string) bool {
		return slices.ContainsFunc(c.Codes, func(code string) bool { return slices.Contains(codes, code) })
	}
	options := fake.Options{AppID: "100", APIKey: "key-at-the-provider", Decide: func(c fake.Call) fake.Reply {
		switch {
		case some(c, ask.Wrong):
			return fake.Reply{Code: kuaidihelp.CodeBadParameters, Msg: "请求参数错误"}
		case some(c, ask.Unknown):
			return fake.Reply{Code: kuaidihelp.CodeNoRecord, Msg: "查询暂无记录"}
		}
		return fake.Reply{}
	}}
	provider := httptest.NewServer(fake.NewProvider(options))
	s.cleanup(provider.Close)

	s.mu.Lock()
	s.body = anyProvider.ReplaceAllString(s.body, "") + fmt.Sprintf(
		"kuaidihelp: {api_url: '%s', app_id: '100', api_key: key-at-the-provider}\n", provider.URL)
	s.mu.Unlock()
	for _, r := range s.relays {
		if err := r.reload(); err != nil {
			return nil, err
		}
	}
	return nil, nil
}
