//go:build !linux

package slowdisk

import "errors"

// Disk is a mounted folder.
type Disk struct{ Dir string }

// Mount fails: FUSE is used on Linux only.
func Mount(string, string) (*Disk, error) { return nil, errors.New("mount a disk: only on Linux") }

// Hang does nothing.
func (*Disk) Hang() {}

// Continue does nothing.
func (*Disk) Continue() {}

// Close does nothing.
func (*Disk) Close() error { return nil }
