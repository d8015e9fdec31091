package cli

import (
	"log/slog"
	"math"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"go.uber.org/zap"
)

// limitMemory sets Go's soft memory limit to nine tenths of what the cgroup allows, so that garbage is collected
// before the kernel ends the process. GOMEMLIMIT in the environment overrides it.
//
// automemlimit does the work, because the limit of a cgroup depends on its version, its mounts and its parents.
func limitMemory(log *zap.Logger) {
	before := debug.SetMemoryLimit(-1)
	limit, err := memlimit.Set(memlimit.WithRatio(0.9), memlimit.WithProvider(memlimit.FromCgroup),
		memlimit.WithLogger(slog.New(slog.DiscardHandler)))
	switch {
	case err != nil:
		log.Info("the memory limit is not known", zap.Error(err))
	case limit == math.MaxInt64:
		log.Info("no memory limit: neither the cgroup nor GOMEMLIMIT sets one")
	case limit == before:
		log.Info("GOMEMLIMIT sets the memory limit", zap.Int64("bytes", limit))
	default:
		log.Info("memory limit set to nine tenths of the cgroup's", zap.Int64("bytes", limit))
	}
}
