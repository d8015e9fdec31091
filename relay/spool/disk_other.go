//go:build !linux && !darwin

package spool

import "errors"

// diskOf is not available here: spool.max_bytes alone bounds the spool.
func diskOf(string) (Disk, error) { return Disk{}, errors.ErrUnsupported }
