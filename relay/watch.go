package relay

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// lookEvery is the least time between two looks at the files.
const lookEvery = time.Second

// watch says when files were changed, and are not being changed any more. It looks, rather than being told: that works for a
// link that is swapped (as Kubernetes does), for a file that is not there yet, and on every file system.
type watch struct {
	// handled is what the files looked like when a change was last reported, and last at the last look.
	handled, last string
}

// changed looks at the files. It reports a change once, at the second look in a row that finds the same: a file that is half
// written is given the time between two looks to be finished.
func (w *watch) changed(paths []string) bool {
	now := look(paths)
	settled := now == w.last
	w.last = now
	if now == w.handled || !settled {
		return false
	}
	w.handled = now
	return true
}

// look describes files and folders so that any change of theirs changes the description. Links are followed.
func look(paths []string) string {
	var b strings.Builder
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			fmt.Fprintf(&b, "%s: not there\n", path)
			continue
		}
		target, _ := filepath.EvalSymlinks(path)
		fmt.Fprintf(&b, "%s: %s %d %d\n", path, target, info.Size(), info.ModTime().UnixNano())
		if !info.IsDir() {
			continue
		}
		entries, _ := os.ReadDir(path)
		for _, e := range entries {
			fmt.Fprintf(&b, "  %s\n", e.Name())
		}
	}
	return b.String()
}
