package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"

	"github.com/labstack/echo/v4"
)

//go:embed web
var web embed.FS

// look is all pages in one language, for one side.
type look struct {
	language language
	pages    map[string]*template.Template
}

// lookOf names a look.
type lookOf struct {
	operator bool
	language language
}

// looks are made when a page is first asked for: they take some MB.
var looks = func() map[lookOf]func() *look {
	out := make(map[lookOf]func() *look)
	for _, operator := range []bool{true, false} {
		for _, l := range languages {
			out[lookOf{operator: operator, language: l}] = sync.OnceValue(func() *look {
				made, err := newLook(operator, l)
				if err != nil {
					panic(err) // the templates are a part of the program, and a test reads them all
				}
				return made
			})
		}
	}
	return out
}()

// newLook reads the templates. Each page is the frame with one file of its own.
func newLook(operator bool, l language) (*look, error) {
	base := baseOf(operator)
	funcs := template.FuncMap{
		"t":        l.text,
		"link":     func(path string) string { return base + path },
		"asset":    func(name string) string { return base + "/assets/" + assets().hash + "/" + name },
		"lang":     func() string { return l.tag() },
		"operator": func() bool { return operator },
	}
	frame, err := template.New("").Funcs(funcs).Option("missingkey=error").ParseFS(web, "web/frame/*.html")
	if err != nil {
		return nil, err
	}

	out := &look{language: l, pages: make(map[string]*template.Template)}
	names, err := fs.Glob(web, "web/*.html")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		own, err := frame.Clone()
		if err == nil {
			own, err = own.ParseFS(web, name)
		}
		if err != nil {
			return nil, err
		}
		out.pages[strings.TrimSuffix(path.Base(name), ".html")] = own
	}
	return out, nil
}

// files are what pages load: styles, scripts and pictures.
type files struct {
	hash string // of all of them: it stands in their paths, so that a browser may keep them for ever
	file map[string]file
}

type file struct {
	kind          string
	text, gzipped []byte
}

var kinds = map[string]string{
	".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

// assets reads them once.
var assets = sync.OnceValue(func() files {
	out := files{file: make(map[string]file)}
	sum := sha256.New()
	names, _ := fs.Glob(web, "web/assets/*") // the pattern is right
	for _, name := range names {
		text, _ := web.ReadFile(name) // it is embedded
		sum.Write(text)
		var small bytes.Buffer
		z, _ := gzip.NewWriterLevel(&small, gzip.BestCompression) // the level is one
		_, _ = z.Write(text)                                      // to memory
		_ = z.Close()
		out.file[path.Base(name)] = file{kind: kinds[path.Ext(name)], text: text, gzipped: small.Bytes()}
	}
	out.hash = hex.EncodeToString(sum.Sum(nil)[:6])
	return out
})

// asset answers a request for a file. A page of another version asks by another hash, and gets what there is now: not
// to be kept.
func (c *Console) asset(x echo.Context) error {
	hash, name, _ := strings.Cut(x.Param("*"), "/")
	f, ok := assets().file[name]
	header := x.Response().Header()
	for name, value := range pageHeaders {
		header.Set(name, value)
	}
	if !ok {
		return x.String(http.StatusNotFound, "there is no such file\n")
	}

	header.Set("Vary", "Accept-Encoding")
	if hash == assets().hash {
		header.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	if strings.Contains(x.Request().Header.Get(echo.HeaderAcceptEncoding), "gzip") {
		header.Set(echo.HeaderContentEncoding, "gzip")
		return x.Blob(http.StatusOK, f.kind, f.gzipped)
	}
	return x.Blob(http.StatusOK, f.kind, f.text)
}
