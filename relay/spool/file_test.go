//go:build unix

package spool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"kuairelay/relay/event"
)

// lying puts things that are no callbacks under the names of callbacks into the folder of a spool, and says which.
func lying(t *testing.T, folder string) (names []string) {
	t.Helper()
	at := func(n string) string {
		name := "000000000" + n + "-20261124T081200.000Z.callback"
		names = append(names, name)
		return filepath.Join(folder, name)
	}
	outside := filepath.Join(t.TempDir(), "outside")
	for _, err := range []error{
		os.WriteFile(outside, []byte("not ours"), 0o600),
		syscall.Mkfifo(at("2"), 0o600),
		os.Symlink(outside, at("3")),
		os.Mkdir(at("4"), 0o700),
		os.Symlink(filepath.Join(folder, "nothing"), at("5")),
		os.Symlink(folder, at("6")),
		os.Symlink("/dev/zero", at("7")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return names
}

func TestWhatIsNoRegularFileStopsNoSpoolAndStaysAsItIs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	dead := adopted(t, dir)
	put(t, dead, 1, "a")
	folder := dead.own.path
	names := lying(t, folder)
	abandon(dead)
	// Beside the folders of processes: a pipe and a link for a lock, a link to a folder, a file.
	for _, err := range []error{
		os.Mkdir(filepath.Join(dir, "pipe"), 0o700), syscall.Mkfifo(filepath.Join(dir, "pipe", "lock"), 0o600),
		os.Mkdir(filepath.Join(dir, "link"), 0o700),
		os.Symlink(filepath.Join(dir, "victim"), filepath.Join(dir, "link", "lock")),
		os.Symlink(folder, filepath.Join(dir, "linked")), os.WriteFile(filepath.Join(dir, "file"), nil, 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s := newSpool(t, dir)
	done := make(chan error, 1)
	go func() { _, err := s.Adopt(); done <- err }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it waits for what is no file")
	}
	if got := bodies(t, s); !slices.Equal(got, []string{"a"}) {
		t.Errorf("callbacks %q", got)
	}
	for _, name := range names {
		if _, err := os.Lstat(filepath.Join(folder, name)); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, "victim")); err == nil {
		t.Error("a lock was made where a link leads")
	}
}

func TestAFileThatIsReplacedIsNotRead(t *testing.T) {
	t.Parallel()
	s := New(Options{Dir: t.TempDir(), Deadline: time.Minute, MaxFile: 1000})
	t.Cleanup(func() { _ = s.Close() })
	if _, err := s.Adopt(); err != nil {
		t.Fatal(err)
	}
	for name, replace := range map[string]func(path string) error{
		"gone":      os.Remove,
		"pipe":      func(path string) error { return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)) },
		"link":      func(path string) error { return errors.Join(os.Remove(path), os.Symlink("/dev/zero", path)) },
		"folder":    func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
		"too large": func(path string) error { return os.Truncate(path, 1001) },
	} {
		f := put(t, s, 1, "a")
		path := filepath.Join(f.folder.path, f.name)
		if err := replace(path); err != nil {
			t.Fatal(err)
		}
		if cb, err := s.Read(f); !errors.Is(err, ErrNotReadable) || cb.Body != nil {
			t.Errorf("%s: %v", name, err)
		}
		s.Hold(next(t, s, 1))
		// Something is already there under the name that it gets.
		if err := os.WriteFile(path+unreadable, []byte("from before"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.SetAside(f); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if text, err := os.ReadFile(path + unreadable); err != nil || string(text) != "from before" {
			t.Errorf("%s: what was there is %q, %v", name, text, err)
		}
	}
}

func TestAFileThatCannotBeReadNowMayBeReadLater(t *testing.T) {
	t.Parallel()
	s := adopted(t, t.TempDir())
	f := put(t, s, 1, "a")
	// Its folder is away, as when a file system is not mounted: also root cannot read that.
	folder := f.folder.path
	rename := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	rename(folder, folder+".away")
	if cb, err := s.Read(f); err == nil || errors.Is(err, ErrNotReadable) || cb.Body != nil {
		t.Errorf("%v", err)
	}
	rename(folder+".away", folder)
	if cb, err := s.Read(f); err != nil || string(cb.Body) != "a" {
		t.Errorf("the file of a folder that is back: %+v, %v", cb, err)
	}
}

func TestAFileThatWasPutBackIsNotTakenBeforeItsPauseIsOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := adopted(t, t.TempDir())
		put(t, s, 1, "a")
		put(t, s, 2, "a b")
		put(t, s, 3, "c")
		first := next(t, s, 1)
		began := time.Now()
		s.Postpone(first[0], time.Minute)
		s.Return(first, false)
		if files := next(t, s, 10); len(files) != 1 || files[0].ReceivedAt.Sub(spoolStart) != 3*time.Second {
			t.Errorf("%d files are taken before it, or those behind it", len(files))
		}
		// It is taken by itself when the time has come.
		if files := next(t, s, 10); len(files) != 1 || files[0].ReceivedAt.Sub(spoolStart) != time.Second {
			t.Errorf("%d files", len(files))
		}
		if after := time.Since(began); after != time.Minute {
			t.Errorf("it is taken after %s", after)
		}
	})
}

func TestDamagedIDsOfAFileAreLeftOut(t *testing.T) {
	t.Parallel()
	s := adopted(t, t.TempDir())
	f := put(t, s, 1, "a")
	text := `{"received_at":"2026-11-24T08:12:03Z","bytes":1,"ids":["evt_nonsense"]}` + "\na"
	if err := os.WriteFile(filepath.Join(f.folder.path, f.name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if cb, err := s.Read(f); err != nil || cb.IDs != nil || string(cb.Body) != "a" {
		t.Errorf("%+v, %v", cb, err)
	}
}

func TestACallbackKeepsItsIDAndAddressAndOneOfAnOlderVersionHasNone(t *testing.T) {
	t.Parallel()
	s := adopted(t, t.TempDir())
	f := put(t, s, 1, "a")
	want := event.Callback{ID: "cb_mir3k9x2a7q2f8", ReceivedAt: spoolStart, From: "203.0.113.9", Replica: "relay-b",
		Body: []byte("a"), IDs: []string{"evt_" + strings.Repeat("0a", 32)}}
	if err := s.Rewrite(f, &want); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Read(f); err != nil || !reflect.DeepEqual(*got, want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}

	old := `{"received_at":"2026-11-24T08:12:03Z","bytes":1}` + "\na"
	if err := os.WriteFile(filepath.Join(f.folder.path, f.name), []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	if cb, err := s.Read(f); err != nil || cb.ID != "" || !cb.ReceivedAt.Equal(spoolStart) || string(cb.Body) != "a" {
		t.Errorf("%+v, %v", cb, err)
	}
}

func TestAFirstLineThatCouldNotBeReadAgainIsNotWritten(t *testing.T) {
	t.Parallel()
	s := adopted(t, t.TempDir())
	f := put(t, s, 1, "a")
	cb := &event.Callback{ReceivedAt: spoolStart, Body: []byte("a"),
		IDs: slices.Repeat([]string{"evt_" + strings.Repeat("0a", 32)}, 20_000)}
	if err := s.Rewrite(f, cb); err == nil {
		t.Error("written")
	}
	if _, err := s.Read(f); err != nil {
		t.Error(err)
	}
}

// large is a callback with more waybills than LargeItems, and all of those given.
func large(first string) string {
	return first + strings.Repeat(" x", LargeItems)
}

func TestALargeFileKeepsOnlyItsOwnWaybillsWaiting(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	check := func(s *Spool) {
		t.Helper()
		taken := func() []string { // without waiting
			s.mu.Lock()
			files := s.nextBatch(10, 1<<40)
			s.mu.Unlock()
			var out []string
			for _, f := range files {
				cb, err := s.Read(f)
				if err != nil {
					t.Fatal(err)
				}
				first, _, _ := strings.Cut(string(cb.Body), " ")
				out = append(out, first)
			}
			return out
		}
		if !s.Touches([]string{"b"}) || !s.Touches([]string{"l1"}) || !s.Touches([]string{"x"}) || s.Touches([]string{"y"}) {
			t.Error("touched are others than those that wait")
		}
		if got := taken(); !slices.Equal(got, []string{"a"}) {
			t.Errorf("before the large ones %q", got)
		}
		first := next(t, s, 10) // the first large one
		if len(first) != 1 || !first[0].large {
			t.Fatalf("%d files, not the large one", len(first))
		}
		if got := taken(); !slices.Equal(got, []string{"b", "c"}) {
			t.Errorf("beside a large one %q: another large one, or one that is about a waybill of either", got)
		}
		s.Hold(first)
		if got := taken(); !slices.Equal(got, []string{"l1"}) {
			t.Errorf("after a large one %q", got)
		}
		if got := taken(); !slices.Equal(got, []string{"l2"}) {
			t.Errorf("and then %q", got)
		}
		if got := taken(); got != nil {
			t.Errorf("taken beside a large one that is about the same: %q", got)
		}
	}
	s := adopted(t, dir)
	for n, body := range []string{"a", large("l1"), "b", "l1", large("l2"), "l2", "c"} {
		put(t, s, n, body)
	}
	check(s)
	abandon(s)
	check(adopted(t, dir)) // as found at a start
}

// A large file waits for each older file that is about one of its waybills, whether that is taken or put off.
func TestALargeFileIsNotTakenBeforeAnOlderOneOfItsWaybills(t *testing.T) {
	t.Parallel()
	s := adopted(t, t.TempDir())
	put(t, s, 0, "l1")
	put(t, s, 1, large("l1"))
	none := func(when string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if files, err := s.Next(ctx, 10, 1<<40); err == nil {
			t.Fatalf("%s: %d files are taken", when, len(files))
		}
	}

	older := next(t, s, 1)
	none("the older one is taken")
	s.Postpone(older[0], time.Hour)
	s.Return(older, false)
	none("the older one is put off")
	s.Postpone(older[0], 0)
	if got := next(t, s, 10); !slices.Equal(got, older) {
		t.Errorf("%d files are taken, and not the older one", len(got))
	}
	s.Hold(older)
	if got := next(t, s, 10); len(got) != 1 || !got[0].large {
		t.Errorf("%d files are taken, and not the large one", len(got))
	}
}
