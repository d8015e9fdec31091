package deliver

import (
	"fmt"
	"strings"
)

// oddAnswers are answers in many forms, right and wrong, by what is odd in them.
func oddAnswers() map[string]string {
	long := strings.Repeat("x", 70000)
	fields := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "X-%d: %s\r\n", i, strings.Repeat("y", 10))
		}
		return b.String()
	}
	return map[string]string{
		"CL shorter than body":        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokEXTRA",
		"CL longer than body + close": "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok",
		"CL longer than body, open":   "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok",
		"two CL same":                 "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
		"two CL differ":               "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
		"CL list":                     "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
		"CL +2":                       "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
		"CL -1":                       "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nok",
		"CL 0x2":                      "HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nok",
		"CL huge":                     "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nok",
		"CL 2^63-1 open":              "HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\nok",
		"CL empty":                    "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\nok",
		"CL and TE": "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n" +
			"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"TE then CL 0": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" +
			"Content-Length: 0\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"TE identity":           "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok",
		"TE gzip, chunked":      "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"TE xchunked":           "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"TE space before colon": "HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"TE two headers": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" +
			"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"TE on 1.0": "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"chunk ext": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0;x\r\n\r\n",
		"chunk ext huge": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;" + long +
			"\r\nok\r\n0\r\n\r\n",
		"chunk size huge": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" +
			"ffffffffffffffffff\r\nok\r\n0\r\n\r\n",
		"chunk size 7fffffffffffffff": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\nok",
		"chunk size negative":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\nok\r\n0\r\n\r\n",
		"chunk size 0x2":              "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nok\r\n0\r\n\r\n",
		"chunk bare LF":               "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nok\n0\n\n",
		"chunk no last":               "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
		"chunk body longer than size": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokXX\r\n0\r\n\r\n",
		"chunk trailers": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n" +
			"2\r\nok\r\n0\r\nX: y\r\n\r\n",
		"chunk trailers huge": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: " + long +
			"\r\n\r\n",
		"chunk trailer then extra": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" +
			"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n",
		"1-byte chunks x1000": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" +
			strings.Repeat("1\r\nz\r\n", 1000) + "0\r\n\r\n",
		"1-byte chunks x5000": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" +
			strings.Repeat("1\r\nz\r\n", 5000) + "0\r\n\r\n",
		"101 with body": "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\n" +
			"Upgrade: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
		"101 h2c":          "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
		"204 with body":    "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
		"204 chunked body": "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"304 with CL":      "HTTP/1.1 304 NM\r\nContent-Length: 5\r\n\r\n",
		"205 CL 5":         "HTTP/1.1 205 R\r\nContent-Length: 5\r\n\r\nhello",
		"100 then 200":     "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"100 with CL and body": "HTTP/1.1 100 Continue\r\nContent-Length: 39\r\n\r\n" +
			"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"102 x5 then 500": strings.Repeat("HTTP/1.1 102 P\r\n\r\n", 5) +
			"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
		"103 x1000": strings.Repeat("HTTP/1.1 103 E\r\n\r\n", 1000) +
			"HTTP/1.1 200 No\r\nContent-Length: 0\r\n\r\n",
		"status 000":              "HTTP/1.1 000 X\r\nContent-Length: 0\r\n\r\n",
		"status 000 then 200":     "HTTP/1.1 000 X\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"status 099":              "HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n",
		"status 600":              "HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n",
		"status 999":              "HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n",
		"status 2000":             "HTTP/1.1 2000 X\r\nContent-Length: 0\r\n\r\n",
		"status +20":              "HTTP/1.1 +20 X\r\nContent-Length: 0\r\n\r\n",
		"status -20":              "HTTP/1.1 -20 X\r\nContent-Length: 0\r\n\r\n",
		"status 20":               "HTTP/1.1 20 X\r\nContent-Length: 0\r\n\r\n",
		"status no reason":        "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
		"HTTP/2.0 line":           "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.2":                "HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n",
		"http lower":              "http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"leading CRLF":            "\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"leading NUL":             "\x00HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"bare LF":                 "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
		"bare CR in header":       "HTTP/1.1 200 OK\r\nX: a\rContent-Length: 0\r\nContent-Length: 2\r\n\r\nok",
		"NUL in header":           "HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 2\r\n\r\nok",
		"NUL in name":             "HTTP/1.1 200 OK\r\nX\x00: a\r\nContent-Length: 2\r\n\r\nok",
		"obs-fold CL":             "HTTP/1.1 200 OK\r\nContent-Length:\r\n 2\r\n\r\nok",
		"obs-fold TE":             "HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"first line fold":         "HTTP/1.1 200 OK\r\n X: y\r\nContent-Length: 2\r\n\r\nok",
		"no colon":                "HTTP/1.1 200 OK\r\nnonsense\r\nContent-Length: 2\r\n\r\nok",
		"space in name":           "HTTP/1.1 200 OK\r\nContent Length: 7\r\nContent-Length: 2\r\n\r\nok",
		"empty name":              "HTTP/1.1 200 OK\r\n: x\r\nContent-Length: 2\r\n\r\nok",
		"1000 headers":            "HTTP/1.1 200 OK\r\n" + fields(1000) + "Content-Length: 2\r\n\r\nok",
		"63 KiB header":           "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("z", 63<<10) + "\r\nContent-Length: 2\r\n\r\nok",
		"66 KiB header":           "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("z", 66<<10) + "\r\nContent-Length: 2\r\n\r\nok",
		"10 MB header":            "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("z", 10<<20) + "\r\nContent-Length: 2\r\n\r\nok",
		"endless status line":     "HTTP/1.1 200 " + strings.Repeat("z", 1<<20) + "\r\nContent-Length: 2\r\n\r\nok",
		"Connection: close, body": "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
		"Connection: Close, foo":  "HTTP/1.1 200 OK\r\nConnection: foo, Close\r\nContent-Length: 2\r\n\r\nok",
		"1.0 keep-alive":          "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
		"until close":             "HTTP/1.1 200 OK\r\n\r\nok",
		"no CL no close":          "HTTP/1.1 200 OK\r\n\r\nok",
		"body 1024":               "HTTP/1.1 500 OK\r\nContent-Length: 1024\r\n\r\n" + strings.Repeat("q", 1024),
		"body 1025":               "HTTP/1.1 500 OK\r\nContent-Length: 1025\r\n\r\n" + strings.Repeat("q", 1025),
		"body 5 MB":               "HTTP/1.1 200 OK\r\nContent-Length: 5242880\r\n\r\n" + strings.Repeat("q", 5<<20),
		"gzip": "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 20\r\n\r\n" +
			"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		"Retry-After many": "HTTP/1.1 503 X\r\nRetry-After: 1\r\nRetry-After: 99999999\r\nContent-Length: 0\r\n\r\n",
		"redirect":         "HTTP/1.1 302 X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
		"308":              "HTTP/1.1 308 X\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
		"SSH":              "SSH-2.0-OpenSSH_9.2\r\n",
		"TLS alert":        "\x15\x03\x01\x00\x02\x02\x28",
		"h2 preface":       "\x00\x00\x00\x04\x00\x00\x00\x00\x00",
		"redis":            "-ERR wrong\r\n",
		"empty+close":      "",
		"only CRLFCRLF":    "\r\n\r\n",
	}
}
