package spool

import (
	"math"
	"path/filepath"
	"testing"
)

func TestTheRoomOfTheSpoolIsThatOfItsDiskIfThatHasLess(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "not", "made", "yet")
	free, err := diskFree(filepath.Dir(filepath.Dir(filepath.Dir(dir))))
	if err != nil || free <= 0 {
		t.Fatalf("the disk has %d bytes free: %v", free, err)
	}

	unbounded := New(Options{Dir: dir, MaxBytes: math.MaxInt64})
	if room := unbounded.Room(); room <= 0 || room > 2*free {
		t.Errorf("%d bytes, on a disk that has %d", room, free)
	}
	bounded := New(Options{Dir: dir, MaxBytes: 8192})
	if room := bounded.Room(); room != 8192 {
		t.Errorf("%d bytes of 8192", room)
	}
}
