package slowdisk

import (
	"errors"
	"os"
)

// Possible returns nil if a disk can be mounted here, and otherwise what is missing.
func Possible() error {
	if os.Geteuid() != 0 {
		return errors.New("only root can mount a disk")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		return errors.New("there is no /dev/fuse")
	}
	return nil
}
