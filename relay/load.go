package relay

import (
	"cmp"

	"kuairelay/relay/config"
	"kuairelay/relay/deliver"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/route"
	"kuairelay/relay/store"
)

// Load reads and checks a config file, with all that the parts of a relay say of it, so that New refuses nothing that Load has
// taken, and every mistake is told at once, with its line. onRead, which may be nil, hears of every file that it depends on.
func Load(file string, onRead func(path string)) (*config.Config, error) {
	return config.Load(file, config.Options{
		CheckWhen:        route.CheckWhen,
		CheckRedisURL:    store.CheckURL,
		CheckEndpointURL: deliver.CheckURL,
		MatchMeans:       matchMeans,
		OnRead:           onRead,
	})
}

// matchMeans says what is meant by a value of match that no event has, for events have the right names of statuses and brands. Of
// brands there are more than those that can be subscribed, with codes as short: what is near to one of these may well be another.
func matchMeans(field, value string) (meant string, known []string) {
	right := kuaidihelp.Status(value)
	if field == "status" {
		known = kuaidihelp.Statuses()
	} else {
		right = cmp.Or(kuaidihelp.BrandLike(value), kuaidihelp.Brand(value))
	}
	if right != value {
		meant = right
	}
	return meant, known
}
