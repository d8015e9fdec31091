package store

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"kuairelay/relay/event"
)

// SpoolOptions of a Spool. A zero field means its default.
type SpoolOptions struct {
	// Dir holds a sub-folder for each process. It is made when it is not there.
	Dir string
	// MaxBytes bounds what this process has on disk, each file in whole blocks of 4 KiB. Default 1 GiB.
	MaxBytes int64
	// Waybills names those that a callback touches. It is asked of files that another process left behind.
	Waybills func(*event.Callback) []string
}

// Spool keeps callbacks on disk, one file each, until the store has their events:
//
//	<dir>/<start>-<random>/lock                                            locked as long as its process lives
//	<dir>/<start>-<random>/0000000042-20261124T081203.123Z.callback        a JSON line about the callback, then its body
//
// A file is written aside, synced, renamed, and its folder synced, before Put returns. Each process writes into a sub-folder
// of its own, and takes over those whose process has ended. What is kept in memory of a file is some hundred bytes.
// All methods may be called at the same time.
type Spool struct {
	o    SpoolOptions
	seed maphash.Seed

	mu      sync.Mutex
	changed chan struct{} // closed when there may be something to take
	own     *folder       // nil until it could be made
	folders map[*folder]struct{}
	opened  time.Time
	seq     uint64
	waiting []*Spooled // oldest first
	taken   map[*Spooled]struct{}
	busy    map[uint64]int // how many of those touch a waybill
	// touched counts the waiting and taken files of each waybill, by its hash.
	touched map[uint64]int
	// looked says that the folders which were there at the start have been taken over: until then any waybill may be in them.
	looked  bool
	files   int
	bytes   int64
	written time.Time // when something was last written with success
	err     error     // of the last write; nil after a success
	counts  SpoolCounts
}

// Spooled is a callback in the spool.
type Spooled struct {
	ReceivedAt time.Time
	// Tag is the caller's own, nil for a file that was taken over.
	Tag any
	// Refused is the caller's own: how often the store has refused it.
	Refused int

	folder   *folder
	name     string
	size     int64    // on disk
	waybills []uint64 // by their hashes
	alone    bool     // to be taken alone
}

// Name is that of its file, for logs.
func (f *Spooled) Name() string { return filepath.Join(filepath.Base(f.folder.path), f.name) }

// SpoolCounts is what has happened to callbacks since the start.
type SpoolCounts struct {
	Written, Failed, Adopted, Unreadable int
}

// SpoolStats is what there is now.
type SpoolStats struct {
	// Files and Bytes are on disk; Waiting of the files have not been accepted, the oldest of which came at Oldest (zero: none).
	Files    int
	Bytes    int64
	MaxBytes int64 // that Bytes may come to
	Waiting  int
	Oldest   time.Time
	SpoolCounts
}

// ErrSpoolFull says that the spool holds as much as it may.
var ErrSpoolFull = errors.New("the spool is full: it holds spool.max_bytes")

const (
	spoolBlock   = 4 << 10
	spoolSuffix  = ".callback"
	unreadable   = ".unreadable"
	spoolReopen  = time.Second
	spoolRecheck = 10 * time.Second
	mostHeader   = 1 << 20
)

// NewSpool makes a Spool. It touches no disk before Adopt or Put.
func NewSpool(o SpoolOptions) *Spool {
	o.MaxBytes = cmp.Or(o.MaxBytes, 1<<30)
	return &Spool{o: o, seed: maphash.MakeSeed(), changed: make(chan struct{}), taken: make(map[*Spooled]struct{}), busy: make(map[uint64]int),
		touched: make(map[uint64]int), folders: make(map[*folder]struct{})}
}

// Put keeps a callback, durably when it returns nil. Callbacks that touch the same waybill are taken in the order of their Puts.
func (s *Spool) Put(cb *event.Callback, waybills []string, tag any) (*Spooled, error) {
	text, err := encodeSpooled(cb)
	if err != nil {
		return nil, err
	}
	f := &Spooled{ReceivedAt: cb.ReceivedAt, Tag: tag, size: onDisk(len(text)), waybills: s.hashes(waybills)}
	if err := s.begin(f); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	err = f.folder.write(f.name, text)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
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
	s.written = time.Now()
	s.waiting = append(s.waiting, f)
	s.signal()
	return f, nil
}

// begin takes the room and the name for a file, and counts its waybills as touched from now on.
func (s *Spool) begin(f *Spooled) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(); err != nil {
		s.counts.Failed++
		return err
	}
	if s.bytes+f.size > s.o.MaxBytes {
		s.counts.Failed++
		return ErrSpoolFull
	}
	s.seq++
	f.folder, f.name = s.own, fmt.Sprintf("%010d-%s%s", s.seq, f.ReceivedAt.UTC().Format("20060102T150405.000Z"), spoolSuffix)
	s.touch(f)
	return nil
}

// open makes the process's own folder, if there is none; after a failure not more than once a second. It needs mu.
func (s *Spool) open() error {
	if s.own != nil {
		return nil
	}
	if s.err != nil && time.Since(s.opened) < spoolReopen {
		return s.err
	}
	s.opened = time.Now()
	if s.own, s.err = newFolder(s.o.Dir); s.err == nil {
		s.folders[s.own] = struct{}{}
	}
	return s.err
}

// Touches says whether one of the waybills is in a callback that still waits: a newer one has to line up behind it.
func (s *Spool) Touches(waybills []string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.looked {
		return true
	}
	if len(s.touched) == 0 {
		return false
	}
	for _, w := range waybills {
		if s.touched[maphash.String(s.seed, w)] > 0 {
			return true
		}
	}
	return false
}

// Next takes the oldest files that wait, one or more, at most so many, and of at most so many bytes on disk; it waits until
// there is one, and gives ctx's error as soon as that has ended. None of them touches a waybill that is in a file which was
// taken before, or is passed over here: so several callers can take at once, and the order of a waybill is kept. They wait on,
// as far as Touches is concerned, until they are given to Hold or to Return.
func (s *Spool) Next(ctx context.Context, most int, bytes int64) ([]*Spooled, error) {
	for ctx.Err() == nil {
		s.mu.Lock()
		files, changed := s.take(most, bytes), s.changed
		s.mu.Unlock()
		if len(files) > 0 {
			return files, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
	return nil, ctx.Err()
}

// lookThrough is how many files that have to wait for others are passed over in search of those that need not.
const lookThrough = 1000

// take needs mu.
func (s *Spool) take(most int, bytes int64) []*Spooled {
	if !s.looked {
		return nil
	}
	var out, passed []*Spooled
	blocked := make(map[uint64]bool)
	n := 0
	for ; n < len(s.waiting) && len(out) < most && len(passed) < lookThrough; n++ {
		f := s.waiting[n]
		free := !slices.ContainsFunc(f.waybills, func(h uint64) bool { return s.busy[h] > 0 || blocked[h] })
		if len(out) > 0 && (f.alone || out[0].alone || bytes < f.size) {
			break
		}
		if !free {
			passed = append(passed, f)
			for _, h := range f.waybills {
				blocked[h] = true
			}
			continue
		}
		out = append(out, f)
		bytes -= f.size
	}
	// What was passed over goes back to the front.
	s.waiting = s.waiting[n-len(passed):]
	copy(s.waiting, passed)
	if len(s.waiting) == 0 {
		s.waiting = nil // and with it the list's memory
	}
	for _, f := range out {
		s.taken[f] = struct{}{}
		for _, h := range f.waybills {
			s.busy[h]++
		}
	}
	return out
}

// Return puts back what was taken. With alone each of them is taken alone from now on.
func (s *Spool) Return(files []*Spooled, alone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range files {
		f.alone = f.alone || alone
	}
	s.release(files)
	s.waiting = append(files[:len(files):len(files)], s.waiting...)
}

// Hold ends the waiting of files that were taken, and leaves them on disk.
func (s *Spool) Hold(files []*Spooled) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release(files)
	for _, f := range files {
		s.untouch(f)
	}
}

// release needs mu.
func (s *Spool) release(files []*Spooled) {
	for _, f := range files {
		delete(s.taken, f)
		for _, h := range f.waybills {
			if s.busy[h]--; s.busy[h] == 0 {
				delete(s.busy, h)
			}
		}
	}
	s.signal()
}

// Withdraw ends the waiting of a file, if it was not taken yet, for Remove.
func (s *Spool) Withdraw(f *Spooled) bool {
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

// Remove deletes files from the disk, durably, after Hold. A file that cannot be deleted is as good as gone for this process;
// the next one takes it up again.
func (s *Spool) Remove(files []*Spooled) error {
	var errs []error
	left := make(map[*folder]bool)
	for _, f := range files {
		err := os.Remove(filepath.Join(f.folder.path, f.name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		left[f.folder] = true
	}
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

// SetAside renames a file that cannot be read at all, after Hold, so that nobody tries it again.
func (s *Spool) SetAside(f *Spooled) error {
	old := filepath.Join(f.folder.path, f.name)
	err := os.Rename(old, old+unreadable)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone(f)
	s.counts.Unreadable++
	if err != nil {
		return fmt.Errorf("spool: set a file aside: %w", err)
	}
	return nil
}

// Read gives the callback of a file. A file that is no callback gives an error and, in Body, all that is in it; without a
// Body it could not be read at all.
func (s *Spool) Read(f *Spooled) (*event.Callback, error) {
	text, err := os.ReadFile(filepath.Join(f.folder.path, f.name))
	if err != nil {
		return &event.Callback{}, fmt.Errorf("spool: %w", err)
	}
	return decodeSpooled(text)
}

// Rewrite replaces what a file says of its callback.
func (s *Spool) Rewrite(f *Spooled, cb *event.Callback) error {
	text, err := encodeSpooled(cb)
	if err == nil {
		err = f.folder.write(f.name, text)
	}
	if err != nil {
		return fmt.Errorf("spool: rewrite a file: %w", err)
	}
	return nil
}

// Check returns nil if the spool would take a callback. When nothing was written for a while, or the last time without
// success, it tries.
func (s *Spool) Check() error {
	own, err := s.toTry()
	if own == nil {
		return err
	}
	err = own.try() // not under mu: every callback asks what it touches
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err = err; err == nil {
		s.written = time.Now()
	} else if errors.Is(err, fs.ErrNotExist) && s.own == own {
		s.own = nil
	}
	return err
}

// toTry gives the folder that is to be tried, or what is known.
func (s *Spool) toTry() (*folder, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bytes+spoolBlock > s.o.MaxBytes {
		return nil, ErrSpoolFull
	}
	if err := s.open(); err != nil {
		return nil, err
	}
	if time.Since(s.opened) < spoolReopen || s.err == nil && time.Since(s.written) < spoolRecheck {
		return nil, s.err
	}
	s.opened = time.Now()
	return s.own, nil
}

// Stats says what there is in the spool, as far as it is this process's.
func (s *Spool) Stats() SpoolStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := SpoolStats{Files: s.files, Bytes: s.bytes, MaxBytes: s.o.MaxBytes, Waiting: len(s.waiting) + len(s.taken), SpoolCounts: s.counts}
	older := func(f *Spooled) {
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

func (s *Spool) hashes(waybills []string) []uint64 {
	if len(waybills) == 0 {
		return nil
	}
	out := make([]uint64, len(waybills))
	for i, w := range waybills {
		out[i] = maphash.String(s.seed, w)
	}
	return out
}

// touch, untouch and gone need mu: a file begins to wait, waits no longer, is no longer on disk.
func (s *Spool) touch(f *Spooled) {
	f.folder.files++
	s.files, s.bytes = s.files+1, s.bytes+f.size
	for _, h := range f.waybills {
		s.touched[h]++
	}
}

func (s *Spool) untouch(f *Spooled) {
	for _, h := range f.waybills {
		if s.touched[h]--; s.touched[h] == 0 {
			delete(s.touched, h)
		}
	}
	f.waybills = nil
	if len(s.touched) == 0 && len(s.waiting) == 0 {
		s.touched = make(map[uint64]int) // a map keeps the room that it once needed
	}
}

func (s *Spool) gone(f *Spooled) {
	f.folder.files--
	s.files, s.bytes = s.files-1, s.bytes-f.size
}

// spoolHeader is the first line of a file.
type spoolHeader struct {
	ReceivedAt time.Time         `json:"received_at"`
	Bytes      int               `json:"bytes"`
	Headers    map[string]string `json:"headers,omitempty"`
	IDs        []string          `json:"ids,omitempty"`
}

func encodeSpooled(cb *event.Callback) ([]byte, error) {
	head, err := json.Marshal(spoolHeader{cb.ReceivedAt, len(cb.Body), cb.Headers, cb.IDs})
	if err != nil {
		return nil, fmt.Errorf("spool: encode: %w", err)
	}
	text := make([]byte, 0, len(head)+1+len(cb.Body))
	return append(append(append(text, head...), '\n'), cb.Body...), nil
}

func decodeSpooled(text []byte) (*event.Callback, error) {
	head, body, found := bytes.Cut(text, []byte("\n"))
	var h spoolHeader
	switch {
	case !found || len(head) > mostHeader:
		return &event.Callback{Body: text}, errors.New("spool: the file has no first line")
	case json.Unmarshal(head, &h) != nil:
		return &event.Callback{Body: text}, errors.New("spool: the file's first line is not the JSON of a spooled callback")
	case h.Bytes != len(body):
		return &event.Callback{Body: text}, fmt.Errorf("spool: the file has a body of %d bytes, its first line says %d", len(body), h.Bytes)
	}
	return &event.Callback{ReceivedAt: h.ReceivedAt, Headers: h.Headers, Body: body, IDs: h.IDs}, nil
}

func onDisk(size int) int64 { return int64(size+spoolBlock-1) / spoolBlock * spoolBlock }
