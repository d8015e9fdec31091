// Package spool keeps callbacks in files until the store has their events. A callback that comes while Redis is down or
// slow is durable there, and is taken from there in order.
package spool

import (
	"cmp"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"kuairelay/relay/event"
)

// Options of a Spool. A zero field means its default.
type Options struct {
	// Dir has a sub-folder for each process. It is made if it does not exist.
	Dir string
	// MaxBytes bounds what this process has on disk, each file in whole blocks of 4 KiB. Default 1 GiB.
	MaxBytes int64
	// MaxFile bounds what is read of one file. Default 64 MiB.
	MaxFile int64
	// Waybills returns the waybills of a callback. It is called for files that another process left behind.
	Waybills func(*event.Callback) iter.Seq[string]
	// Works is called when a write succeeds again after a failure. Default: nothing is.
	Works func()
}

// Spool keeps callbacks on disk, one file each, until the store has their events:
//
//	<dir>/<start>-<random>/lock                                            locked as long as its process lives
//	<dir>/<start>-<random>/0000000042-20261124T081203.123Z.callback        a JSON line about the callback, then its body
//
// A file is written aside, synced, renamed, and its folder synced, before Put returns. Each process writes into a
// sub-folder of its own, and takes over those whose process has ended. What is kept in memory of a file is some hundred
// bytes. All methods may be called at the same time.
type Spool struct {
	o    Options
	seed maphash.Seed

	mu      sync.Mutex
	changed chan struct{} // closed when there may be something to take
	own     *folder       // nil until it could be made
	folders map[*folder]struct{}
	opened  time.Time
	seq     uint64
	waiting []*File // oldest first
	taken   map[*File]struct{}
	busy    map[uint64]int // how many of those touch a waybill
	// touched counts the waiting and taken files of each waybill, by its hash.
	touched map[uint64]int
	// large are the large files that wait or are taken. They are counted neither in busy nor in touched. largeTaken is the
	// one that is taken.
	large      map[*File]struct{}
	largeTaken *File
	// looked says that the folders that existed at the start have been taken over. Until then they may have any waybill.
	looked bool
	// waybills is how many waybills all waiting and taken files have, counted for each file; most bounds it.
	waybills, most int
	files          int
	bytes          int64
	written        time.Time // when something was last written with success
	err            error     // of the last write; nil after a success
	counts         Counts
}

// File is a callback in the spool.
type File struct {
	ReceivedAt time.Time
	// Tag is for the caller, nil for a file that was taken over.
	Tag any
	// Refused is for the caller: how often the store has refused the file.
	Refused int

	folder   *folder
	name     string
	size     int64    // on disk
	waybills []uint64 // by their hashes, sorted, each once
	alone    bool     // to be taken alone
	large    bool
	any      bool      // what it is about takes too much memory to know: any waybill may be in it
	until    time.Time // not to be taken before
}

// Name is that of its file, for logs.
func (f *File) Name() string { return filepath.Join(filepath.Base(f.folder.path), f.name) }

// Counts is what has happened to callbacks since the start.
type Counts struct {
	Written, Failed, Adopted, Unreadable int
}

// Stats is the present content of the spool.
type Stats struct {
	// Files and Bytes are on disk; Waiting of the files have not been accepted, the oldest of which came at Oldest (zero:
	// none).
	Files    int
	Bytes    int64
	MaxBytes int64 // that Bytes may come to
	Waiting  int
	Oldest   time.Time
	Counts
}

// ErrFull says that the spool is full.
var ErrFull = errors.New("the spool is full: it holds spool.max_bytes")

// ErrWaybills says that the callbacks in the spool have as many waybills as the spool can keep in memory.
var ErrWaybills = errors.New("the spool is full: its callbacks name too many waybills")

// bytesPerWaybill is how many bytes of spool.max_bytes allow one waybill in memory. An update has more bytes than that,
// so the bound is reached only by callbacks with next to nothing in them. leastWaybills are allowed in any spool.
const (
	bytesPerWaybill = 256
	leastWaybills   = 1 << 20
)

const (
	block        = 4 << 10
	suffix       = ".callback"
	unreadable   = ".unreadable"
	reopenPause  = time.Second
	recheckAfter = 10 * time.Second
	mostHeader   = 1 << 20
)

// New makes a Spool. It touches no disk before Adopt or Put.
func New(o Options) *Spool {
	o.MaxBytes = cmp.Or(o.MaxBytes, 1<<30)
	o.MaxFile = cmp.Or(o.MaxFile, 64<<20)
	if o.Works == nil {
		o.Works = func() {}
	}

	return &Spool{
		o:       o,
		seed:    maphash.MakeSeed(),
		most:    int(max(leastWaybills, o.MaxBytes/bytesPerWaybill)),
		changed: make(chan struct{}),
		folders: make(map[*folder]struct{}),
		taken:   make(map[*File]struct{}),
		busy:    make(map[uint64]int),
		touched: make(map[uint64]int),
		large:   make(map[*File]struct{}),
	}
}

// Put keeps a callback, and returns nil when it is durable. Callbacks with a common waybill are taken in the order of
// their Puts.
func (s *Spool) Put(cb *event.Callback, waybills iter.Seq[string], tag any) (*File, error) {
	text, err := encode(cb)
	if err != nil {
		return nil, err
	}
	f := &File{ReceivedAt: cb.ReceivedAt, Tag: tag, size: onDisk(len(text))}
	f.waybills, f.large = s.about(waybills, len(text))
	if err := s.begin(f); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}

	err = f.folder.write(f.name, text)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrote(err)
	if err != nil {
		s.untouch(f)
		s.gone(f)
		s.counts.Failed++
		if errors.Is(err, fs.ErrNotExist) && s.own == f.folder {
			s.own = nil // somebody has removed the folder: make another one
		}
		return nil, fmt.Errorf("spool: %w", err)
	}

	s.counts.Written++
	s.waiting = append(s.waiting, f)
	s.signal()
	return f, nil
}

// begin reserves room and a name for a file, and counts its waybills from now on.
func (s *Spool) begin(f *File) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(); err != nil {
		s.counts.Failed++
		return err
	}
	if s.bytes+f.size > s.o.MaxBytes {
		s.counts.Failed++
		return ErrFull
	}
	if s.waybills+len(f.waybills) > s.most {
		s.counts.Failed++
		return ErrWaybills
	}
	s.seq++
	f.folder = s.own
	f.name = fmt.Sprintf("%010d-%s%s", s.seq, f.ReceivedAt.UTC().Format("20060102T150405.000Z"), suffix)
	s.touch(f)
	return nil
}

// open makes the process's own folder, if there is none; after a failure at most once a second. It needs mu.
func (s *Spool) open() error {
	if s.own != nil {
		return nil
	}
	if s.err != nil && time.Since(s.opened) < reopenPause {
		return s.err
	}
	s.opened = time.Now()
	own, err := newFolder(s.o.Dir)
	if err == nil {
		s.own = own
		s.folders[own] = struct{}{}
	}
	s.wrote(err)
	return err
}

// Withdraw ends the waiting of a file that was not taken yet, before Remove.
func (s *Spool) Withdraw(f *File) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.waiting, f)
	if i < 0 {
		return false
	}
	s.waiting = slices.Delete(s.waiting, i, i+1)
	s.untouch(f)
	return true
}

// Remove deletes files from the disk, durably, after Hold. A file that cannot be deleted is gone for this process; the
// next process takes it over.
func (s *Spool) Remove(files []*File) error {
	var errs []error
	left := make(map[*folder]bool)
	for _, f := range files {
		err := os.Remove(filepath.Join(f.folder.path, f.name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		left[f.folder] = true
	}

	// One sync of a folder makes all its deletions durable.
	for dir := range left {
		if err := dir.sync(); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range files {
		s.gone(f)
	}
	for dir := range left {
		if dir != s.own && dir.files <= 0 {
			delete(s.folders, dir)
			errs = append(errs, dir.remove())
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("spool: remove files: %w", err)
	}
	return nil
}

// Rewrite replaces the first line of a file, which describes its callback.
func (s *Spool) Rewrite(f *File, cb *event.Callback) error {
	text, err := encode(cb)
	if err == nil {
		err = f.folder.write(f.name, text)
	}
	if err != nil {
		return fmt.Errorf("spool: rewrite a file: %w", err)
	}
	return nil
}

// Check returns nil if the spool would take a callback. If nothing was written for a while, or the last write failed,
// it writes a test file.
func (s *Spool) Check() error {
	own, untried, err := s.toTry()
	if !untried {
		return err
	}
	err = own.try() // not under mu: every callback asks what it touches
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrote(err)
	if errors.Is(err, fs.ErrNotExist) && s.own == own {
		s.own = nil
	}
	return err
}

// Trouble returns why the last write failed; nil: it did not. It writes nothing.
func (s *Spool) Trouble() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// wrote notes the result of a write. It needs mu.
func (s *Spool) wrote(err error) {
	failed := s.err != nil
	s.err = err
	if err != nil {
		return
	}
	s.written = time.Now()
	if failed {
		s.o.Works()
	}
}

// Recheck is Check, if the last write failed.
func (s *Spool) Recheck() {
	if s.Trouble() != nil {
		_ = s.Check()
	}
}

// toTry returns the folder to write a test file to, and whether a test is needed. Otherwise the error is the known one.
func (s *Spool) toTry() (own *folder, untried bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bytes+block > s.o.MaxBytes {
		return nil, false, ErrFull
	}
	if s.waybills >= s.most {
		return nil, false, ErrWaybills
	}
	if err := s.open(); err != nil {
		return nil, false, err
	}
	if time.Since(s.opened) < reopenPause || s.err == nil && time.Since(s.written) < recheckAfter {
		return nil, false, s.err
	}
	s.opened = time.Now()
	return s.own, true, nil
}

// Room is how many bytes the spool can still take: what is left of spool.max_bytes, or of the disk, if that is less.
func (s *Spool) Room() int64 {
	s.mu.Lock()
	room := max(0, s.o.MaxBytes-s.bytes)
	s.mu.Unlock()

	if disk, known := DiskOf(s.o.Dir); known {
		return min(room, disk.Free)
	}
	return room
}

// Disk is the disk of a folder.
type Disk struct {
	ID   string // of the disk on this machine
	Free int64  // bytes that an ordinary process may still write to it
}

// Disk is the disk of the spool; known is false if it cannot be asked.
func (s *Spool) Disk() (d Disk, known bool) { return DiskOf(s.o.Dir) }

// DiskOf is the disk of a folder; known is false if it cannot be asked. The folder of a spool is made with the first
// file. Until then, the disk is that of the folder above it.
func DiskOf(dir string) (d Disk, known bool) {
	for {
		d, err := diskOf(dir)
		switch {
		case err == nil:
			return d, true
		case !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir):
			return Disk{}, false
		}
		dir = filepath.Dir(dir)
	}
}

// Stats returns the content of the spool, as far as this process has it.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := Stats{
		Files:    s.files,
		Bytes:    s.bytes,
		MaxBytes: s.o.MaxBytes,
		Waiting:  len(s.waiting) + len(s.taken),
		Counts:   s.counts,
	}
	older := func(f *File) {
		if out.Oldest.IsZero() || f.ReceivedAt.Before(out.Oldest) {
			out.Oldest = f.ReceivedAt
		}
	}
	for f := range s.taken {
		older(f)
	}
	if len(s.waiting) > 0 {
		older(s.waiting[0])
	}
	return out
}

// signal wakes those who wait for files. It needs mu.
func (s *Spool) signal() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// gone notes that a file is no longer on disk. It needs mu.
func (s *Spool) gone(f *File) {
	f.folder.files--
	s.files--
	s.bytes -= f.size
}
