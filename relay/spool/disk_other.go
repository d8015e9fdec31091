//go:build !linux && !darwin

package spool

import "errors"

// diskFree cannot be asked here: what the spool may hold is then known by spool.max_bytes alone.
func diskFree(string) (int64, error) { return 0, errors.ErrUnsupported }
