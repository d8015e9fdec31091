//go:build !linux && !darwin

package spool

import "errors"

// diskFree is not available here: spool.max_bytes alone bounds the spool.
func diskFree(string) (int64, error) { return 0, errors.ErrUnsupported }
