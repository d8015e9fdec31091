package spool

import (
	"math"
	"path/filepath"
	"testing"
)

func TestTheRoomOfTheSpoolIsThatOfItsDiskIfThatHasLess(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "not", "made", "yet")
	disk, err := diskOf(filepath.Dir(filepath.Dir(filepath.Dir(dir))))
	free := disk.Free
	if err != nil || free <= 0 || disk.ID == "" {
		t.Fatalf("the disk is %+v: %v", disk, err)
	}

	unbounded := New(Options{Dir: dir, MaxBytes: math.MaxInt64})
	if room := unbounded.Room(); room <= 0 || room > 2*free {
		t.Errorf("%d bytes, on a disk that has %d", room, free)
	}
	if got, known := unbounded.Disk(); !known || got.ID != disk.ID || got.Free > 2*free {
		t.Errorf("the disk of a folder that is not made yet is %+v, of the one above it %+v", got, disk)
	}
	bounded := New(Options{Dir: dir, MaxBytes: 8192})
	if room := bounded.Room(); room != 8192 {
		t.Errorf("%d bytes of 8192", room)
	}
}
