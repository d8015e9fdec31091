package spool

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"kuairelay/relay/event"
)

// ErrNotReadable says that a file of the spool can never be read: it is missing, not a regular file, or too large. Any
// other error of Spool.Read without a body may pass.
var ErrNotReadable = errors.New("it cannot be read")

// Read returns the callback of a file. If the file is no callback, it returns an error and, in Body, the content of the
// file. Without a Body the file could not be read: never with ErrNotReadable, otherwise only now.
func (s *Spool) Read(f *File) (*event.Callback, error) {
	text, err := readRegular(filepath.Join(f.folder.path, f.name), s.o.MaxFile)
	if err != nil {
		return &event.Callback{}, fmt.Errorf("spool: %w", err)
	}
	return decode(text)
}

// readRegular reads a regular file of at most so many bytes. It follows no link, and does not block.
func readRegular(path string, most int64) ([]byte, error) {
	file, err := openRegular(path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > most {
		return nil, fmt.Errorf("%w: it has %d bytes, and may have %d", ErrNotReadable, info.Size(), most)
	}
	text := make([]byte, info.Size())
	if _, err := io.ReadFull(file, text); err != nil {
		return nil, err
	}
	return text, nil
}

// openRegular opens a file, unless it is something else: a link, a folder, a pipe, a device.
func openRegular(path string, flag int) (*os.File, error) {
	info, err := os.Lstat(path)
	if err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s is no regular file, but %s", ErrNotReadable, filepath.Base(path), info.Mode())
	}
	var file *os.File
	if err == nil {
		file, err = os.OpenFile(path, flag|noFollow, 0)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist) && isFolder(filepath.Dir(path)), errors.Is(err, syscall.ELOOP):
		return nil, fmt.Errorf("%w: %w", ErrNotReadable, err)
	case err != nil:
		return nil, err
	}
	return file, nil
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// outOfResources says that an error is about the process or machine, and not about one file.
func outOfResources(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM)
}

// SetAside renames a file that cannot be read at all, after Hold, so that no process tries it again.
func (s *Spool) SetAside(f *File) error {
	old := filepath.Join(f.folder.path, f.name)
	err := os.Rename(old, freeName(old+unreadable))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // somebody has removed it
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone(f)
	s.counts.Unreadable++
	if err != nil {
		return fmt.Errorf("spool: set a file aside: %w", err)
	}
	return nil
}

// freeName returns a path that does not exist yet: path itself, path.2, …
func freeName(path string) string {
	name := path
	for n := 2; n < 1000; n++ {
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			break
		}
		name = path + "." + strconv.Itoa(n)
	}
	return name
}

// header is the first line of a file.
type header struct {
	ReceivedAt time.Time         `json:"received_at"`
	ID         string            `json:"id,omitempty"`
	From       string            `json:"from,omitempty"`
	Replica    string            `json:"replica,omitempty"`
	Bytes      int               `json:"bytes"`
	Headers    map[string]string `json:"headers,omitempty"`
	IDs        []string          `json:"ids,omitempty"`
}

func encode(cb *event.Callback) ([]byte, error) {
	head, err := json.Marshal(header{
		ID:         cb.ID,
		ReceivedAt: cb.ReceivedAt,
		From:       cb.From,
		Replica:    cb.Replica,
		Bytes:      len(cb.Body),
		Headers:    cb.Headers,
		IDs:        cb.IDs,
	})
	if err != nil {
		return nil, fmt.Errorf("spool: encode: %w", err)
	}
	if len(head) > mostHeader {
		return nil, fmt.Errorf("spool: encode: the first line would have %d bytes, and may have %d", len(head), mostHeader)
	}
	text := make([]byte, 0, len(head)+1+len(cb.Body))
	return append(append(append(text, head...), '\n'), cb.Body...), nil
}

func decode(text []byte) (*event.Callback, error) {
	head, body, found := bytes.Cut(text, []byte("\n"))
	var h header
	switch {
	case !found || len(head) > mostHeader:
		return &event.Callback{Body: text}, errors.New("spool: the file has no first line")
	case json.Unmarshal(head, &h) != nil:
		return &event.Callback{Body: text}, errors.New("spool: the file's first line is not the JSON of a spooled callback")
	case h.Bytes != len(body):
		return &event.Callback{Body: text}, fmt.Errorf("spool: the file has a body of %d bytes, its first line says %d",
			len(body), h.Bytes)
	}
	if slices.ContainsFunc(h.IDs, func(id string) bool { return !event.IsID(id) }) {
		h.IDs = nil // they are damaged; the content gives them as well, but for recurrences
	}
	return &event.Callback{
		ID:         h.ID,
		ReceivedAt: h.ReceivedAt,
		From:       h.From,
		Replica:    h.Replica,
		Headers:    h.Headers,
		Body:       body,
		IDs:        h.IDs,
	}, nil
}

func onDisk(size int) int64 { return int64(size+block-1) / block * block }
