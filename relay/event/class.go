package event

import (
	"net/http"
	"slices"
	"strings"
)

// The classes of attempts to which no answer came. The Err of an Attempt begins with its class and a colon.
const (
	ClassTimeout   = "timeout"   // no whole answer in time
	ClassDNS       = "dns"       // the name was not found
	ClassRefused   = "refused"   // nothing listens there
	ClassReset     = "reset"     // the connection ended too early
	ClassTLS       = "tls"       // the certificate, or the handshake
	ClassNetwork   = "network"   // any other trouble of the connection
	ClassProtocol  = "protocol"  // the answer is not valid HTTP
	ClassForbidden = "forbidden" // the egress guard refused to dial; the kind of address follows
)

// Classes lists all of them.
func Classes() []string {
	return []string{
		ClassTimeout, ClassDNS, ClassRefused, ClassReset, ClassTLS, ClassNetwork, ClassProtocol, ClassForbidden,
	}
}

// ClassOf returns the class of an attempt from its error; empty: it has none.
func ClassOf(err string) string {
	class, _, _ := strings.Cut(err, ":")
	known := Classes()
	if i := slices.Index(known, class); i >= 0 {
		return known[i] // a part of the error would keep all of it in memory
	}
	return ""
}

// RefusesBody says whether a status refuses the one body that was sent, and says nothing else of its endpoint: any 4xx
// but these. 401, 403 and 404 are about the endpoint, 408, 425 and 429 about the moment, and 410 says that it is gone.
func RefusesBody(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone,
		http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return status/100 == 4
}
