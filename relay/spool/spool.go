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
	"maps"
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
	// Deadline is how long a callback waits for the disk. Default 700 ms.
	Deadline time.Duration
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
	o      Options
	seed   maphash.Seed
	making sync.Mutex // held while the own folder is made, before mu

	mu      sync.Mutex
	changed chan struct{} // closed when there may be something to take
	own     *folder       // nil until it could be made
	late    int           // how much on the disk takes longer than the deadline
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
	asked          chan struct{} // closed when the disk has answered; nil: it is not being asked
	disk           Disk
	diskKnown      bool
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
	// abandoned says that its write took too long; settled that it did not.
	abandoned, settled bool
	any                bool      // what it is about takes too much memory to know: any waybill may be in it
	until              time.Time // not to be taken before
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

// ErrHangs says that the disk does not answer in time.
var ErrHangs = errors.New("the disk of the spool does not answer")

// bytesPerWaybill is how many bytes of spool.max_bytes allow one waybill in memory. An update has more bytes than that,
// so the bound is reached only by callbacks with next to nothing in them. leastWaybills are allowed in any spool.
const (
	bytesPerWaybill = 256
	leastWaybills   = 1 << 20
)

// deadline is how long a callback waits for the disk. Before that it may have waited 300 ms for Redis, and it is to be
// answered within a second.
const deadline = 700 * time.Millisecond

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
	o.Deadline = cmp.Or(o.Deadline, deadline)
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
	err = s.within(func() error { return s.put(f, text) }, func() (settled bool) {
		switch {
		case f.settled:
			return true
		case f.folder != nil:
			s.untouch(f)
		}
		f.abandoned = true
		return false
	})
	if err != nil {
		s.mu.Lock()
		s.counts.Failed++
		s.mu.Unlock()
		return nil, fmt.Errorf("spool: %w", err)
	}
	return f, nil
}

// put writes a file that waits from then on. One that was abandoned meanwhile is removed: its callback was refused, and
// comes again.
func (s *Spool) put(f *File, text []byte) error {
	own, err := s.open()
	if err == nil {
		err = s.begin(f, own)
	}
	if err != nil {
		return err
	}

	err = own.write(f.name, text)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wroteIn(own, err)
	f.settled = !f.abandoned
	switch {
	case f.abandoned:
		go func() { // not under mu
			_ = os.Remove(filepath.Join(own.path, f.name)) // it is not there if its write failed
			s.mu.Lock()
			defer s.mu.Unlock()
			s.gone(f)
		}()
	case err != nil:
		s.untouch(f)
		s.gone(f)
	default:
		s.counts.Written++
		s.waiting = append(s.waiting, f)
		s.signal()
	}
	return err
}

// begin reserves room and a name for a file in the process's own folder, and counts its waybills from now on.
func (s *Spool) begin(f *File, own *folder) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case f.abandoned:
		return ErrHangs
	case s.bytes+f.size > s.o.MaxBytes:
		return ErrFull
	case s.waybills+len(f.waybills) > s.most:
		return ErrWaybills
	}
	s.seq++
	f.folder = own
	f.name = fmt.Sprintf("%010d-%s%s", s.seq, f.ReceivedAt.UTC().Format("20060102T150405.000Z"), suffix)
	s.touch(f)
	return nil
}

// open returns the process's own folder. If there is none, it makes it; after a failure at most once a second.
func (s *Spool) open() (*folder, error) {
	s.making.Lock()
	defer s.making.Unlock()
	s.mu.Lock()
	own, err, early := s.own, s.err, time.Since(s.opened) < reopenPause
	if own == nil && !(err != nil && early) {
		s.opened = time.Now()
	}
	s.mu.Unlock()
	switch {
	case own != nil:
		return own, nil
	case err != nil && early:
		return nil, err
	}

	own, err = newFolder(s.o.Dir)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.own = own
		s.folders[own] = struct{}{}
	}
	s.wrote(err)
	return own, err
}

// within does something on the disk, and gives ErrHangs if that takes longer than a deadline. It goes on by itself
// then, and until it has ended nothing else is begun: so what hangs is bounded by what is begun within one deadline.
// giveUp is called with mu when that happens; it says whether it has come too late, because all is done.
func (s *Spool) within(do func() error, giveUp func() (settled bool)) error {
	if s.hangs() {
		return ErrHangs
	}
	done, late := make(chan error), make(chan struct{})
	go func() {
		err := do()
		select {
		case done <- err:
		case <-late:
			s.mu.Lock()
			defer s.mu.Unlock()
			s.late--
			s.wrote(err)
		}
	}()

	deadline := time.NewTimer(s.o.Deadline)
	defer deadline.Stop()
	select {
	case err := <-done:
		return err
	case <-deadline.C:
	}
	if s.gaveUp(giveUp) {
		close(late)
		return ErrHangs
	}
	return <-done
}

// gaveUp gives something up that takes too long, unless it is done just now.
func (s *Spool) gaveUp(giveUp func() (settled bool)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if giveUp() {
		return false
	}
	s.late++
	s.err = ErrHangs
	return true
}

// hangs says whether something on the disk takes longer than the deadline.
func (s *Spool) hangs() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.late > 0
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
	for _, f := range files {
		s.gone(f)
	}
	maps.DeleteFunc(left, func(dir *folder, _ bool) bool { return dir == s.own || dir.files > 0 })
	for dir := range left {
		delete(s.folders, dir)
	}
	s.mu.Unlock()
	for dir := range left {
		errs = append(errs, dir.remove())
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
	untried, err := s.toTry()
	if !untried {
		return err
	}
	return s.within(func() error { // not under mu: every callback asks what it touches
		own, err := s.open()
		if err != nil {
			return err
		}
		err = own.try()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.wroteIn(own, err)
		return err
	}, func() bool { return false })
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
	if s.late > 0 {
		err = ErrHangs
	}
	s.err = err
	if err != nil {
		return
	}
	s.written = time.Now()
	if failed {
		s.o.Works()
	}
}

// wroteIn is wrote for a write in the own folder. It needs mu.
func (s *Spool) wroteIn(own *folder, err error) {
	s.wrote(err)
	if errors.Is(err, fs.ErrNotExist) && s.own == own {
		s.own = nil // somebody has removed the folder: make another one
	}
}

// Recheck is Check, if the last write failed.
func (s *Spool) Recheck() {
	if s.Trouble() != nil {
		_ = s.Check()
	}
}

// toTry says whether a test file has to be written. Otherwise the error is the known one.
func (s *Spool) toTry() (untried bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.late > 0:
		return false, ErrHangs
	case s.bytes+block > s.o.MaxBytes:
		return false, ErrFull
	case s.waybills >= s.most:
		return false, ErrWaybills
	case s.own == nil:
		return true, nil
	case time.Since(s.opened) < reopenPause || s.err == nil && time.Since(s.written) < recheckAfter:
		return false, s.err
	}
	s.opened = time.Now()
	return true, nil
}

// Room is how many bytes the spool can still take: what is left of spool.max_bytes, or of the disk, if that is less.
func (s *Spool) Room() int64 {
	s.mu.Lock()
	room := max(0, s.o.MaxBytes-s.bytes)
	s.mu.Unlock()
	if disk, known := s.Disk(); known {
		return min(room, disk.Free)
	}
	return room
}

// Disk is the disk of a folder.
type Disk struct {
	ID   string // of the disk on this machine
	Free int64  // bytes that an ordinary process may still write to it
}

// askMost is how long somebody waits for what a disk says of itself.
const askMost = 100 * time.Millisecond

// Disk is the disk of the spool; known is false if it cannot be asked. It is asked by one at a time, and while that
// hangs, what it said before is what is known.
func (s *Spool) Disk() (d Disk, known bool) {
	s.mu.Lock()
	asked := s.asked
	if asked == nil {
		asked = make(chan struct{})
		s.asked = asked
		go func() {
			d, known := DiskOf(s.o.Dir)
			s.mu.Lock()
			defer s.mu.Unlock()
			s.disk, s.diskKnown, s.asked = d, known, nil
			close(asked)
		}()
	}
	s.mu.Unlock()

	most := time.NewTimer(askMost)
	defer most.Stop()
	select {
	case <-asked:
	case <-most.C:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.disk, s.diskKnown
}

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
