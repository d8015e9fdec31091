package spool

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"kuairelay/relay/workers"
)

// folder is a sub-folder of the spool that is locked by this process.
type folder struct {
	path string
	lock *flock.Flock
	dir  *os.File
	// syncs lets many writers share one sync of the folder. Entries that exist when it begins are durable when it ends.
	syncs workers.Batcher[struct{}, struct{}]
	files int // guarded by Spool.mu
}

// newFolder makes a folder in dir, and locks it before it gets a name by which other processes find it.
func newFolder(dir string) (*folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	_ = syncDir(filepath.Dir(dir)) // if dir is new; who may not read its parent has made it before

	random := make([]byte, 3)
	_, _ = rand.Read(random) // never fails (crypto/rand)
	name := time.Now().UTC().Format("20060102T150405Z-") + hex.EncodeToString(random)
	hidden := filepath.Join(dir, "."+name)
	if err := os.Mkdir(hidden, 0o700); err != nil {
		return nil, err
	}
	f, err := openFolder(hidden)
	if err != nil {
		_ = os.RemoveAll(hidden)
		return nil, err
	}

	// It is locked, so others may find it now.
	f.path = filepath.Join(dir, name)
	if err = os.Rename(hidden, f.path); err == nil {
		err = syncDir(dir)
	}
	if err == nil {
		err = f.try()
	}
	if err != nil {
		f.close()
		_, _ = os.RemoveAll(hidden), os.RemoveAll(f.path)
		return nil, err
	}
	return f, nil
}

var errLocked = errors.New("another process has it")

// openFolder locks an existing folder.
func openFolder(path string) (*folder, error) {
	f := &folder{path: path, lock: flock.New(filepath.Join(path, "lock"), flock.SetFlag(os.O_CREATE|os.O_RDONLY|noFollow))}
	f.syncs = workers.Batcher[struct{}, struct{}]{
		Most:   1,
		Limit:  1 << 30,
		Weight: func(struct{}) int { return 1 },
		Do:     func(qs []struct{}) ([]struct{}, error) { return qs, f.dir.Sync() },
	}
	locked, err := f.lock.TryLock()
	if err != nil {
		return nil, err
	}
	if !locked {
		return nil, errLocked
	}
	if f.dir, err = os.Open(path); err != nil {
		_ = f.lock.Close()
		return nil, err
	}
	return f, nil
}

// write writes a file, durably, and as a whole or not at all.
func (f *folder) write(name string, text []byte) error {
	aside, final := filepath.Join(f.path, "."+name), filepath.Join(f.path, name)
	err := writeSynced(aside, text)
	if err == nil {
		err = os.Rename(aside, final)
	}
	if err != nil {
		_ = os.Remove(aside)
		return err
	}
	if err := f.sync(); err != nil {
		_ = os.Remove(final)
		return err
	}
	return nil
}

func writeSynced(path string, text []byte) error {
	file, err := createNew(path)
	if errors.Is(err, fs.ErrExist) {
		_ = os.Remove(path) // left half written
		file, err = createNew(path)
	}
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// createNew makes a file that must not exist yet, not even as a link.
func createNew(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

func (f *folder) sync() error {
	_, err := f.syncs.Ask(context.Background(), struct{}{})
	return err
}

// tryName is the file that try writes.
const tryName = ".try"

// try writes a file and removes it again.
func (f *folder) try() error {
	path := filepath.Join(f.path, tryName)
	if err := writeSynced(path, []byte("kuairelay\n")); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // somebody else tries as well
		return err
	}
	return nil
}

// names lists the callbacks in the folder, in the order in which they were written, and removes files that were left
// half written. Anything else in the folder stays as it is.
func (f *folder) names() ([]string, error) {
	entries, err := os.ReadDir(f.path) // sorted by name
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		name := e.Name()
		switch {
		case !e.Type().IsRegular():
		case name == tryName, strings.HasPrefix(name, ".") && strings.HasSuffix(name, suffix):
			_ = os.Remove(filepath.Join(f.path, name))
		case strings.HasSuffix(name, suffix):
			out = append(out, name)
		}
	}
	return out, nil
}

// remove deletes the folder, if nothing is left in it.
func (f *folder) remove() error {
	defer f.close()
	entries, err := os.ReadDir(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() != "lock" }) {
		return nil
	}
	// A process that opens the lock file now gets one that is about to vanish, and then finds no folder.
	return os.RemoveAll(f.path)
}

func (f *folder) close() { _, _ = f.dir.Close(), f.lock.Close() }

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Adoption is a folder that was taken over from a process that has ended.
type Adoption struct {
	Folder    string
	Callbacks int
}

// Adopt makes this process's own folder, and takes over those of processes that have ended, with all waiting callbacks.
func (s *Spool) Adopt() ([]Adoption, error) {
	own, err := s.open()
	errs := []error{err}

	entries, err := os.ReadDir(s.o.Dir)
	if err != nil {
		errs = append(errs, err)
	}
	var out []Adoption
	for _, e := range entries {
		path := filepath.Join(s.o.Dir, e.Name())
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") || own != nil && path == own.path {
			continue
		}
		files, err := s.adopt(path)
		if err != nil && !errors.Is(err, errLocked) && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		if len(files) > 0 {
			out = append(out, Adoption{e.Name(), len(files)})
		}
	}

	// From now on the waybills of all waiting callbacks are known.
	s.mu.Lock()
	s.looked = true
	s.signal()
	s.mu.Unlock()
	if err := errors.Join(errs...); err != nil {
		return out, fmt.Errorf("spool: %w", err)
	}
	return out, nil
}

func (s *Spool) adopt(path string) ([]*File, error) {
	lock, err := os.Lstat(filepath.Join(path, "lock"))
	if err != nil || !lock.Mode().IsRegular() {
		return nil, err // none of ours, or about to vanish
	}
	dir, err := openFolder(path)
	if err != nil {
		return nil, err
	}

	names, err := dir.names()
	if err != nil {
		dir.close()
		return nil, err
	}
	if len(names) == 0 {
		return nil, dir.remove()
	}

	files := make([]*File, len(names))
	for i, name := range names {
		f := &File{folder: dir, name: name, size: block}
		cb, err := s.Read(f)
		if outOfResources(err) {
			dir.close()
			return nil, err // nothing is known of these files: later
		}

		// A damaged file counts as received when the one before it was.
		f.ReceivedAt = cb.ReceivedAt
		f.size = onDisk(len(cb.Body))
		if err == nil {
			f.waybills, f.large = s.about(s.o.Waybills(cb), len(cb.Body))
		} else if i > 0 {
			f.ReceivedAt = files[i-1].ReceivedAt
		}
		files[i] = f
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range files {
		if s.waybills+len(f.waybills) > s.most {
			f.waybills, f.any, f.large = nil, true, true // what is newer waits until it was taken
		}
		s.touch(f)
	}
	s.folders[dir] = struct{}{}
	s.counts.Adopted += len(files)
	s.waiting = merge(s.waiting, files)
	return files, nil
}

// merge merges two lists: it takes the older of the two first files each time, and each list keeps its own order.
func merge(a, b []*File) []*File {
	out := make([]*File, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if b[0].ReceivedAt.Before(a[0].ReceivedAt) {
			out, b = append(out, b[0]), b[1:]
		} else {
			out, a = append(out, a[0]), a[1:]
		}
	}
	return append(append(out, a...), b...)
}

// Close unlocks all folders, and removes the empty ones. If the disk hangs, that is left to the end of the process.
func (s *Spool) Close() error {
	if s.hangs() {
		return ErrHangs
	}
	s.mu.Lock()
	folders := slices.Collect(maps.Keys(s.folders))
	s.own = nil
	clear(s.folders)
	s.mu.Unlock()
	var errs []error
	for _, f := range folders {
		errs = append(errs, f.remove())
	}
	return errors.Join(errs...)
}
