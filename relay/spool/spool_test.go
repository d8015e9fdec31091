package spool

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kuairelay/relay/event"
)

func newSpool(t *testing.T, dir string) *Spool {
	t.Helper()
	s := New(Options{Dir: dir, Deadline: time.Minute, Waybills: func(cb *event.Callback) iter.Seq[string] {
		return strings.FieldsSeq(string(cb.Body))
	}})
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// none are the waybills of a callback that is about none.
func none(func(string) bool) {}

// adopted is a spool that has looked at what others have left.
func adopted(t *testing.T, dir string) *Spool {
	t.Helper()
	s := newSpool(t, dir)
	if _, err := s.Adopt(); err != nil {
		t.Fatal(err)
	}
	return s
}

// abandon ends a spool as kill -9 would: the locks go, the files stay.
func abandon(s *Spool) {
	for f := range s.folders {
		f.close()
	}
}

var spoolStart = time.Date(2026, 11, 24, 8, 12, 3, 0, time.UTC)

func put(t *testing.T, s *Spool, n int, body string) *File {
	t.Helper()
	f, err := s.Put(&event.Callback{ReceivedAt: spoolStart.Add(time.Duration(n) * time.Second),
		Headers: map[string]string{"Content-Type": "text/plain"}, Body: []byte(body)},
		strings.FieldsSeq(body), nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func next(t *testing.T, s *Spool, most int) []*File {
	t.Helper()
	files, err := s.Next(t.Context(), most, 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// bodies takes everything that waits, and returns the bodies, in order.
func bodies(t *testing.T, s *Spool) []string {
	t.Helper()
	var out []string
	for s.Stats().Waiting > 0 {
		files := next(t, s, 1000)
		for _, f := range files {
			cb, err := s.Read(f)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, string(cb.Body))
		}
		s.Hold(files)
		if err := s.Remove(files); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			out = append(out, filepath.Base(path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestASpooledCallbackIsAFileThatAPersonCanRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := adopted(t, dir)
	f := put(t, s, 0, "77 78\n")
	if f.name != "0000000001-20261124T081203.000Z.callback" {
		t.Errorf("name %s", f.name)
	}
	text, err := os.ReadFile(filepath.Join(dir, f.Name()))
	if err != nil || string(text) != `{"received_at":"2026-11-24T08:12:03Z","bytes":6,`+
		`"headers":{"Content-Type":"text/plain"}}`+"\n77 78\n" {
		t.Errorf("%s, %v", text, err)
	}
	cb, err := s.Read(f)
	if err != nil || string(cb.Body) != "77 78\n" || !cb.ReceivedAt.Equal(spoolStart) ||
		cb.Headers["Content-Type"] != "text/plain" {
		t.Errorf("%+v, %v", cb, err)
	}
	cb.IDs = []string{"evt_" + strings.Repeat("0a", 32) + "-2"}
	if err := s.Rewrite(f, cb); err != nil {
		t.Fatal(err)
	}
	if again, err := s.Read(f); err != nil || !slices.Equal(again.IDs, cb.IDs) || string(again.Body) != "77 78\n" {
		t.Errorf("%+v, %v", again, err)
	}
}

func TestAWaybillIsTouchedUntilItsLastCallbackIsAccepted(t *testing.T) {
	t.Parallel()
	s := newSpool(t, t.TempDir())
	if !s.Touches([]string{"never seen"}) {
		t.Error("a waybill is not touched, though nobody has looked at what is in the spool")
	}
	if _, err := s.Adopt(); err != nil {
		t.Fatal(err)
	}
	touches := func(want ...string) {
		t.Helper()
		for _, w := range []string{"1", "2", "3"} {
			if s.Touches([]string{"0", w}) != slices.Contains(want, w) {
				t.Errorf("waybill %s is touched, or not; want %v", w, want)
			}
		}
	}
	put(t, s, 0, "1 2")
	put(t, s, 1, "2")
	touches("1", "2")
	first := next(t, s, 1)
	touches("1", "2")
	s.Return(first, false)
	touches("1", "2")
	first = next(t, s, 1)
	s.Hold(first)
	touches("2")
	if n := s.Stats().Files; n != 2 {
		t.Errorf("%d files", n)
	}
	third := put(t, s, 2, "3")
	touches("2", "3")
	if !s.Withdraw(third) || s.Withdraw(third) {
		t.Error("it is not withdrawn once")
	}
	touches("2")
	if err := s.Remove(append(first, third)); err != nil {
		t.Fatal(err)
	}
	if got := bodies(t, s); !slices.Equal(got, []string{"2"}) {
		t.Errorf("left: %v", got)
	}
	touches()
	if st := s.Stats(); st.Files != 0 || st.Bytes != 0 || st.Waiting != 0 || !st.Oldest.IsZero() || st.Written != 3 {
		t.Errorf("%+v", st)
	}
}

func TestTheFilesThatNameAWaybillAreFoundUntilTheyAreAccepted(t *testing.T) {
	t.Parallel()
	s := adopted(t, t.TempDir())
	names := func(waybill string, most int) (out []string) {
		for _, f := range s.Naming(waybill, most) {
			out = append(out, f.ReceivedAt.Sub(spoolStart).String())
		}
		return out
	}
	put(t, s, 0, "1 2")
	put(t, s, 1, "2")
	put(t, s, 2, "2 3")
	first := next(t, s, 1) // one that is taken is not accepted yet
	for _, x := range []struct {
		waybill string
		most    int
		want    []string
	}{
		{waybill: "2", most: 9, want: []string{"0s", "1s", "2s"}},
		{waybill: "2", most: 1, want: []string{"0s"}},
		{waybill: "3", most: 9, want: []string{"2s"}},
		{waybill: "4", most: 9},
	} {
		if got := names(x.waybill, x.most); !slices.Equal(got, x.want) {
			t.Errorf("%s: %v, want %v", x.waybill, got, x.want)
		}
	}
	s.Hold(first)
	if got := names("1", 9); len(got) > 0 {
		t.Errorf("one that is accepted is found: %v", got)
	}
}

func TestCallbacksOfADeadProcessAreTakenOverInOrderAndByOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	alive, dead := adopted(t, dir), adopted(t, dir)
	put(t, alive, 5, "alive")
	for n := range 12 {
		put(t, dead, n, fmt.Sprint("dead", n))
	}
	// What a crash can leave behind: a file that was being written, and a folder.
	if err := os.WriteFile(filepath.Join(dead.own.path, ".0000000009-20261124T081203.000Z.callback"), []byte("half"),
		0o600); err != nil {
		t.Fatal(err)
	}
	if got := files(t, dir); len(got) != 16 {
		t.Fatalf("files: %v", got)
	}
	if other := adopted(t, dir); other.Stats().Adopted != 0 {
		t.Error("files were taken from a process that lives")
	}
	abandon(dead)
	var heirs []*Spool
	var all sync.WaitGroup
	for range 4 {
		heir := newSpool(t, dir)
		heirs = append(heirs, heir)
		all.Go(func() {
			got, err := heir.Adopt()
			if n := heir.Stats().Adopted; err != nil || n > 0 && (len(got) != 1 || got[0].Callbacks != n) || n == 0 &&
				len(got) > 0 {
				t.Errorf("%d callbacks: %+v, %v", n, got, err)
			}
		})
	}
	all.Wait()
	total := 0
	for _, heir := range heirs {
		if n := heir.Stats().Adopted; n == 0 {
			continue
		}
		total += heir.Stats().Adopted
		if !heir.Touches([]string{"dead7"}) || heir.Touches([]string{"dead12"}) {
			t.Error("the waybills are not known")
		}
		put(t, heir, 3, "own") // received before some of those, written after
		got := bodies(t, heir)
		if len(got) != 13 ||
			!slices.IsSortedFunc(slices.DeleteFunc(slices.Clone(got), func(b string) bool {
				return b == "own"
			}), func(a, b string) int {
				return len(a)*100 + strings.Compare(a, b) - len(b)*100
			}) {
			t.Errorf("order: %v", got)
		}
	}
	if total != 12 {
		t.Errorf("%d callbacks were taken over, of 12", total)
	}
	if _, err := os.Stat(dead.own.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
}

func TestASpoolTakesNoMoreThanItMay(t *testing.T) {
	t.Parallel()
	s := adopted(t, t.TempDir())
	s.o.MaxBytes = 3 * block
	put(t, s, 0, "1")
	put(t, s, 1, strings.Repeat("x", block))
	_, err := s.Put(&event.Callback{ReceivedAt: spoolStart}, slices.Values([]string{"9"}), nil)
	if !errors.Is(err, ErrFull) || !errors.Is(s.Check(), ErrFull) || s.Touches([]string{"9"}) || s.Stats().Failed != 1 {
		t.Errorf("%v; %v; %+v", err, s.Check(), s.Stats())
	}
	if len(bodies(t, s)) != 2 || s.Check() != nil {
		t.Error("it is still full")
	}
	put(t, s, 2, "3")
}

func TestASpoolThatCannotBeWrittenSaysSoAndHeals(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "spool")
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // a file where the folder should be
		t.Fatal(err)
	}
	s := newSpool(t, dir)
	if _, err := s.Adopt(); err == nil {
		t.Error("no error")
	}
	if _, err := s.Put(&event.Callback{ReceivedAt: spoolStart}, none, nil); err == nil || s.Check() == nil {
		t.Error("no error")
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	poll(t, "the spool works", func() bool { return s.Check() == nil })
	put(t, s, 0, "1")
	// Its folder is removed under it.
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	failed := s.Stats().Failed
	if _, err := s.Put(&event.Callback{ReceivedAt: spoolStart}, none, nil); err == nil || s.Stats().Failed != failed+1 {
		t.Errorf("a callback whose folder is gone: %v, %d have failed", err, s.Stats().Failed-failed)
	}
	poll(t, "the spool works again", func() bool {
		_, err := s.Put(&event.Callback{ReceivedAt: spoolStart}, none, nil)
		return err == nil
	})
}

// A file counts when its folder's entry is durable, too. Otherwise the caller answers "failure", and the callback comes
// again.
func TestACallbackWhoseFolderCannotBeSyncedIsRefusedAndLeavesNoFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := adopted(t, dir)
	put(t, s, 0, "1")
	before := files(t, dir)
	if err := s.own.dir.Close(); err != nil { // its descriptor can no longer be synced
		t.Fatal(err)
	}

	_, err := s.Put(&event.Callback{ReceivedAt: spoolStart}, none, nil)
	if !errors.Is(err, os.ErrClosed) || s.Stats().Waiting != 1 {
		t.Errorf("%v; %d wait", err, s.Stats().Waiting)
	}
	if after := files(t, dir); !slices.Equal(after, before) {
		t.Errorf("%q, and before %q", after, before)
	}
}

// A file that a dead process has left may be about the same waybill, and is older.
func TestNothingIsTakenBeforeItIsKnownWhatOthersHaveLeft(t *testing.T) {
	t.Parallel()
	s := newSpool(t, t.TempDir())
	put(t, s, 0, "1")
	next := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.nextBatch(10, 1<<20))
	}
	if n := next(); n != 0 {
		t.Errorf("%d files are taken at once", n)
	}
	if _, err := s.Adopt(); err != nil {
		t.Fatal(err)
	}
	if n := next(); n != 1 {
		t.Errorf("%d files are taken then", n)
	}
}

// Each list keeps its own order, also where a clock was set back.
func TestOfTwoListsTheOlderFilesComeFirst(t *testing.T) {
	t.Parallel()
	list := func(seconds ...int) (out []*File) {
		for _, n := range seconds {
			out = append(out, &File{ReceivedAt: spoolStart.Add(time.Duration(n) * time.Second)})
		}
		return out
	}
	a, b := list(1, 3, 3, 5), list(2, 3, 9, 4)
	want := []*File{a[0], b[0], a[1], a[2], b[1], a[3], b[2], b[3]}
	if got := merge(a, b); !slices.Equal(got, want) {
		t.Errorf("%d files of 8, or in another order", len(got))
	}
}

// Nothing was written for a while, and so nothing has failed: whether the spool works is tried.
func TestAnIdleSpoolIsTriedNowAndThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "spool")
		s := newSpool(t, dir)
		put(t, s, 0, "1")
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		time.Sleep(recheckAfter - time.Second)
		if err := s.Check(); err != nil {
			t.Errorf("it is tried at once: %v", err)
		}
		time.Sleep(time.Second)
		if err := s.Check(); err == nil {
			t.Error("it is not tried")
		}
		time.Sleep(time.Second)
		if err := s.Check(); err != nil {
			t.Errorf("it makes no other folder: %v", err)
		}
	})
}

func TestAFolderWhoseLockCannotBeOpenedIsNotTaken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Symlink("elsewhere", filepath.Join(dir, "lock")); err != nil {
		t.Fatal(err)
	}
	if f, err := openFolder(dir); f != nil || err == nil || errors.Is(err, errLocked) {
		t.Errorf("%v, %v", f, err)
	}
}

func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

func TestADamagedFileIsToldFromOneThatCannotBeRead(t *testing.T) {
	t.Parallel()
	s := adopted(t, t.TempDir())
	for what, text := range map[string]string{"first line": "no JSON\n{}", "no first line": "{}",
		"says 7": `{"bytes":7}` + "\nx"} {
		f := put(t, s, 0, "1")
		if err := os.WriteFile(filepath.Join(f.folder.path, f.name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cb, err := s.Read(f)
		if err == nil || !strings.Contains(err.Error(), what) || string(cb.Body) != text {
			t.Errorf("%s: %v, body %q", what, err, cb.Body)
		}
	}
	f := put(t, s, 0, "1")
	path := filepath.Join(f.folder.path, f.name)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if cb, err := s.Read(f); err == nil || cb.Body != nil {
		t.Errorf("%v, body %q", err, cb.Body)
	}
	s.Hold(next(t, s, 100))
	if err := s.SetAside(f); err != nil || s.Stats().Unreadable != 1 {
		t.Errorf("%v, %+v", err, s.Stats())
	}
	if _, err := os.Stat(path + ".unreadable"); err != nil {
		t.Error(err)
	}
}

func TestManyPutsAtOnceAreAllDurableAndSeen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := adopted(t, dir)
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() { put(t, s, i, fmt.Sprint("w", i)) })
	}
	all.Wait()
	if n := len(files(t, dir)); n != 201 { // and the lock
		t.Errorf("%d files", n)
	}
	if n := len(bodies(t, s)); n != 200 {
		t.Errorf("%d callbacks", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}

func TestFilesThatShareAWaybillAreTakenOneAfterTheOther(t *testing.T) {
	t.Parallel()
	s := adopted(t, t.TempDir())
	names := func(files []*File) (out []string) {
		for _, f := range files {
			cb, err := s.Read(f)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, string(cb.Body))
		}
		return out
	}
	for n, body := range []string{"a", "b", "a b c", "c", "d", "a", "e"} {
		put(t, s, n, body)
	}
	first := next(t, s, 1)
	second := next(t, s, 10)
	if !slices.Equal(names(first), []string{"a"}) || !slices.Equal(names(second), []string{"b", "d", "e"}) {
		t.Errorf("taken: %q, %q", names(first), names(second))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if files, err := s.Next(ctx, 10, 1<<30); err == nil {
		t.Errorf("taken: %q", names(files))
	}
	s.Hold(second)
	s.Return(first, true)
	if files, err := s.Next(ctx, 10, 1<<30); err == nil {
		t.Errorf("taken, though the time is over: %q", names(files))
	}
	if got := names(next(t, s, 10)); !slices.Equal(got, []string{"a"}) {
		t.Errorf("one that is to be taken alone: %q", got)
	}
	s.Hold(first)
	if got := names(next(t, s, 10)); !slices.Equal(got, []string{"a b c", "c", "a"}) {
		t.Errorf("the rest: %q", got)
	}
	if st := s.Stats(); st.Waiting != 3 || !st.Oldest.Equal(spoolStart.Add(2*time.Second)) {
		t.Errorf("%+v", st)
	}
}

func BenchmarkPut(b *testing.B) {
	s := New(Options{Dir: b.TempDir()})
	body := []byte(strings.Repeat("x", 1000))
	b.SetParallelism(32)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := s.Put(&event.Callback{ReceivedAt: time.Now(), Body: body}, slices.Values([]string{"1"}),
				nil); err != nil {
				b.Error(err)
			}
		}
	})
}

func TestTheSpoolKnowsNoMoreWaybillsThanItsSizeAllows(t *testing.T) {
	t.Parallel()
	const most = 1000
	dir := t.TempDir()
	s := adopted(t, dir)
	if want := 1 << 30 / bytesPerWaybill; s.most != want {
		t.Errorf("a spool of the default size knows %d waybills, want %d", s.most, want)
	}
	s.most = most
	many := func(n int) iter.Seq[string] { // each with next to nothing else
		return func(yield func(string) bool) {
			for i := range n {
				if !yield(fmt.Sprint(i)) {
					return
				}
			}
		}
	}
	cb := &event.Callback{ReceivedAt: spoolStart, Body: []byte("many")}
	first, err := s.Put(cb, many(most-1), nil)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, 1, "one")
	if _, err := s.Put(cb, many(1), nil); !errors.Is(err, ErrWaybills) {
		t.Errorf("one waybill too many: %v", err)
	}
	if err := s.Check(); !errors.Is(err, ErrWaybills) {
		t.Errorf("the spool would take a callback: %v", err)
	}
	taken := next(t, s, 1)
	s.Hold(taken)
	if err := s.Remove(taken); err != nil || taken[0] != first {
		t.Fatalf("%v, or another file", err)
	}
	if err := s.Check(); err != nil {
		t.Errorf("there is room again: %v", err)
	}
	if _, err := s.Put(cb, many(most-1), nil); err != nil {
		t.Errorf("there is room again: %v", err)
	}
	abandon(s)

	// Found at a start, a file whose waybills are too many counts as being about any.
	heir := New(Options{Dir: dir, Waybills: func(cb *event.Callback) iter.Seq[string] {
		if string(cb.Body) == "many" {
			return many(most + 1)
		}
		return strings.FieldsSeq(string(cb.Body))
	}})
	heir.most = most
	t.Cleanup(func() { _ = heir.Close() })
	if _, err := heir.Adopt(); err != nil {
		t.Fatal(err)
	}
	if heir.waybills > most || !heir.Touches([]string{"any"}) {
		t.Errorf("%d waybills are known, or what is newer does not wait", heir.waybills)
	}
	if got := bodies(t, heir); !slices.Equal(got, []string{"many", "one"}) && !slices.Equal(got, []string{"one", "many"}) {
		t.Errorf("taken: %v", got)
	}
	if heir.waybills != 0 || heir.Touches([]string{"any"}) {
		t.Errorf("%d waybills are left", heir.waybills)
	}
}
