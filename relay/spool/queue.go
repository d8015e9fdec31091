package spool

import (
	"context"
	"hash/maphash"
	"iter"
	"maps"
	"slices"
	"time"
)

// This file has the order in which callbacks leave the spool: oldest first, but none before an older one of its
// waybill.
//
// A large file names so many waybills that counting each of them would take more memory than the file has bytes, and
// taking it to Redis takes minutes. So large files are kept apart: each has its waybills in a sorted list, and one of
// them is taken at a time, while other files pass it by.

// LargeItems and LargeBytes are the bounds above which a callback is large: by its items, or by its bytes on disk.
const (
	LargeItems = 1024
	LargeBytes = 1 << 20
)

// Touches says whether one of the waybills is in a callback that still waits: a newer callback has to wait behind that.
func (s *Spool) Touches(waybills []string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.looked {
		return true
	}
	if len(s.touched) == 0 && len(s.large) == 0 {
		return false
	}
	for _, w := range waybills {
		h := maphash.String(s.seed, w)
		if s.touched[h] > 0 {
			return true
		}
		for f := range s.large {
			if f.touches(h) {
				return true
			}
		}
	}
	return false
}

// Naming gives the files that wait and have a waybill, the oldest first, at most so many. It also gives files whose
// waybills are not known.
func (s *Spool) Naming(waybill string, most int) (out []*File) {
	if !s.Touches([]string{waybill}) {
		return nil
	}
	s.mu.Lock()
	all := slices.Concat(slices.Collect(maps.Keys(s.taken)), s.waiting)
	s.mu.Unlock()

	// Callbacks that come meanwhile have to wait for a part alone.
	h := maphash.String(s.seed, waybill)
	for part := range slices.Chunk(all, lookThrough) {
		s.mu.Lock()
		for _, f := range part {
			if len(out) < most && f.touches(h) {
				out = append(out, f)
			}
		}
		s.mu.Unlock()
	}
	slices.SortFunc(out, func(a, b *File) int { return a.ReceivedAt.Compare(b.ReceivedAt) })
	return out
}

func (f *File) touches(h uint64) bool {
	if f.any {
		return true
	}
	_, found := slices.BinarySearch(f.waybills, h)
	return found
}

// Next takes the oldest files that wait, one or more, at most so many, and of at most so many bytes on disk; it waits
// until there is one, and gives ctx's error as soon as that has ended. None of them touches a waybill that is in a file
// which was taken before, or is passed over here: so several callers can take at once, and the order of a waybill is
// kept. They wait on, as far as Touches is concerned, until they are given to Hold or to Return.
func (s *Spool) Next(ctx context.Context, most int, bytes int64) ([]*File, error) {
	for ctx.Err() == nil {
		s.mu.Lock()
		files, changed := s.nextBatch(most, bytes), s.changed
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

// lookThrough is how many files that have to wait for others are skipped in search of those that need not.
const lookThrough = 1000

// nextBatch takes the oldest files that may be taken now. It needs mu.
func (s *Spool) nextBatch(most int, bytes int64) []*File {
	if !s.looked {
		return nil
	}

	var out []*File
	skipped := skippedFiles{spool: s, now: time.Now(), waybills: make(map[uint64]bool)}
	if s.largeTaken != nil {
		skipped.large = append(skipped.large, s.largeTaken)
	}

	n := 0
	for ; n < len(s.waiting) && len(out) < most && len(skipped.files) < lookThrough; n++ {
		f := s.waiting[n]
		if skipped.over(f) {
			continue
		}
		if len(out) > 0 && (f.alone || f.large || out[0].alone || out[0].large || bytes < f.size) {
			break
		}
		out = append(out, f)
		bytes -= f.size
	}

	// Skipped files go back to the front.
	s.waiting = s.waiting[n-len(skipped.files):]
	copy(s.waiting, skipped.files)
	if len(s.waiting) == 0 {
		s.waiting = nil // and with it the list's memory
	}

	for _, f := range out {
		s.taken[f] = struct{}{}
		if f.large {
			s.largeTaken = f
			continue
		}
		for _, h := range f.waybills {
			s.busy[h]++
		}
	}
	return out
}

// skippedFiles are the files that cannot be taken yet, and what they keep others from.
type skippedFiles struct {
	spool    *Spool
	now      time.Time
	files    []*File
	waybills map[uint64]bool // of those that are not large
	large    []*File         // and the one that is taken
}

// over skips a file, if it has to wait.
func (p *skippedFiles) over(f *File) bool {
	if !f.until.After(p.now) && p.free(f) {
		return false
	}
	p.files = append(p.files, f)
	if f.large {
		p.large = append(p.large, f)
		return true
	}
	for _, h := range f.waybills {
		p.waybills[h] = true
	}
	return true
}

// free says whether no older file has a waybill of f.
func (p *skippedFiles) free(f *File) bool {
	if !f.large {
		return !slices.ContainsFunc(f.waybills, func(h uint64) bool {
			return p.spool.busy[h] > 0 || p.waybills[h] ||
				slices.ContainsFunc(p.large, func(l *File) bool { return l.touches(h) })
		})
	}
	if len(p.large) > 0 {
		return false // one at a time, in their order
	}
	for h := range p.spool.busy {
		if f.touches(h) {
			return false
		}
	}
	for h := range p.waybills {
		if f.touches(h) {
			return false
		}
	}
	return true
}

// Postpone says, before Return, that a file is not taken again before a pause is over, and then alone.
func (s *Spool) Postpone(f *File, pause time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.alone, f.until = true, time.Now().Add(pause)
	time.AfterFunc(pause, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.signal()
	})
}

// Return puts back files that were taken. With alone, each of them is taken alone from now on.
func (s *Spool) Return(files []*File, alone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range files {
		f.alone = f.alone || alone
	}
	s.release(files)
	s.waiting = append(files[:len(files):len(files)], s.waiting...)
}

// Hold ends the waiting of files that were taken. They stay on disk.
func (s *Spool) Hold(files []*File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release(files)
	for _, f := range files {
		s.untouch(f)
	}
}

// release ends the waiting of files. It needs mu.
func (s *Spool) release(files []*File) {
	for _, f := range files {
		delete(s.taken, f)
		if f == s.largeTaken {
			s.largeTaken = nil
		}
		if f.large {
			continue
		}
		for _, h := range f.waybills {
			s.busy[h]--
			if s.busy[h] == 0 {
				delete(s.busy, h)
			}
		}
	}
	s.signal()
}

// about returns the hashes of the waybills of a callback of so many bytes, sorted, each once, and whether it is large.
func (s *Spool) about(waybills iter.Seq[string], bytes int) (hashes []uint64, large bool) {
	n := 0
	for w := range waybills {
		n++
		if len(hashes) == cap(hashes) {
			hashes = sortedOnce(hashes) // before the list grows: there may be few waybills that come often
			hashes = slices.Grow(hashes, max(8, len(hashes)))
		}
		hashes = append(hashes, maphash.String(s.seed, w))
	}
	return slices.Clone(sortedOnce(hashes)), n > LargeItems || bytes > LargeBytes
}

// sortedOnce sorts hashes, and leaves each in once.
func sortedOnce(hashes []uint64) []uint64 {
	slices.Sort(hashes)
	return slices.Compact(hashes)
}

// touch counts the waybills of a file that begins to wait, untouch those of one that no longer does. They need mu.
func (s *Spool) touch(f *File) {
	f.folder.files++
	s.files++
	s.bytes += f.size
	s.waybills += len(f.waybills)
	if f.large {
		s.large[f] = struct{}{}
		return
	}
	for _, h := range f.waybills {
		s.touched[h]++
	}
}

func (s *Spool) untouch(f *File) {
	s.waybills -= len(f.waybills)
	if f.large {
		delete(s.large, f)
		f.waybills = nil
		return
	}
	for _, h := range f.waybills {
		s.touched[h]--
		if s.touched[h] == 0 {
			delete(s.touched, h)
		}
	}
	f.waybills = nil
	if len(s.touched) == 0 && len(s.waiting) == 0 {
		s.touched = make(map[uint64]int) // a map keeps the room that it once needed
	}
}
