//go:build linux || darwin

package spool

import (
	"fmt"
	"syscall"
)

// diskOf asks for the disk of a folder that exists.
func diskOf(dir string) (Disk, error) {
	var disk syscall.Statfs_t
	if err := syscall.Statfs(dir, &disk); err != nil {
		return Disk{}, err
	}
	var folder syscall.Stat_t
	if err := syscall.Stat(dir, &folder); err != nil {
		return Disk{}, err
	}
	free := int64(disk.Bavail) * int64(disk.Bsize) //nolint:gosec,unconvert // fits; types differ by system
	return Disk{ID: fmt.Sprint(folder.Dev), Free: free}, nil
}
