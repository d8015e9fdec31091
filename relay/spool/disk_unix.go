//go:build linux || darwin

package spool

import "syscall"

// diskFree is how many bytes an ordinary process may still write to the disk of a folder.
func diskFree(dir string) (int64, error) {
	var disk syscall.Statfs_t
	if err := syscall.Statfs(dir, &disk); err != nil {
		return 0, err
	}
	return int64(disk.Bavail) * int64(disk.Bsize), nil //nolint:gosec,unconvert // fits; types differ by system
}
