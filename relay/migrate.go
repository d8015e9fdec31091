package relay

import (
	"context"

	"kuairelay/relay/config"
	"kuairelay/relay/store/db"
	"kuairelay/relay/store/migrate"
)

// Migrate moves what the version before has kept in the Redis of a config to the form of this version.
func Migrate(ctx context.Context, c *config.Config, o migrate.Options) (migrate.Result, error) {
	d, err := db.New(db.Options{URL: c.Redis.URL.Reveal(), AnyForm: true})
	if err != nil {
		return migrate.Result{}, err
	}
	defer func() { _ = d.Close() }()
	return migrate.Run(ctx, d, o)
}
