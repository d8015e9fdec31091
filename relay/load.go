package relay

import (
	"kuairelay/relay/config"
	"kuairelay/relay/deliver"
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
		OnRead:           onRead,
	})
}
