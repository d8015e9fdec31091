package console

import (
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"
)

// download answers with a file. No browser shows it as a page.
func (v *visit) download(name string, text []byte) error {
	header := v.Response().Header()
	header.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	header.Set(echo.HeaderContentDisposition, fmt.Sprintf("attachment; filename=%q", name))
	return v.Blob(http.StatusOK, echo.MIMEOctetStream, text)
}
