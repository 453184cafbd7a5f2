package front

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// Format is the form of an access log's lines.
type Format uint8

// The forms.
const (
	Common   Format = iota // the Common Log Format
	Combined               // and Referer and User-Agent
	JSON                   // an object a line
)

// AccessLog writes a line for each request. A line is one write, so that
// several processes may append to one file.
type AccessLog struct {
	Out    io.Writer
	Format Format

	mu  sync.Mutex
	buf []byte
}

func (a *AccessLog) write(r *http.Request, w *response, begin time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.Format == JSON {
		a.buf = appendJSON(a.buf[:0], r, w, begin)
	} else {
		a.buf = a.appendLine(a.buf[:0], r, w, begin)
	}
	a.Out.Write(a.buf)
}

func (a *AccessLog) appendLine(b []byte, r *http.Request, w *response, begin time.Time) []byte {
	b = append(b, clientOf(r)...)
	b = append(b, " - - ["...)
	b = begin.AppendFormat(b, "02/Jan/2006:15:04:05 -0700")
	b = append(b, `] "`...)
	b = appendEscaped(b, r.Method)
	b = append(b, ' ')
	b = appendEscaped(b, r.RequestURI)
	b = append(b, ' ')
	b = append(b, r.Proto...)
	b = append(b, `" `...)
	b = strconv.AppendInt(b, int64(w.status), 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, w.bytes, 10)
	if a.Format == Combined {
		b = appendQuoted(b, r.Header.Get("Referer"))
		b = appendQuoted(b, r.Header.Get("User-Agent"))
	}
	if w.file != "" { // behind all that programs which read such lines know
		b = append(b, ' ')
		b = append(b, w.file...)
	}
	return append(b, '\n')
}

func clientOf(r *http.Request) string {
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		return host
	}
	if _, err := netip.ParseAddr(r.RemoteAddr); err == nil {
		return r.RemoteAddr // of a proxy that says no port
	}
	return "unix:"
}

func appendQuoted(b []byte, s string) []byte {
	b = append(b, ` "`...)
	if s == "" {
		b = append(b, '-')
	}
	b = appendEscaped(b, s)
	return append(b, '"')
}

// appendEscaped keeps a client from forging lines or sending commands to the
// terminal of whoever reads them.
func appendEscaped(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c >= 0x7f:
			b = append(b, '\\', 'x', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return b
}

func appendJSON(b []byte, r *http.Request, w *response, begin time.Time) []byte {
	line, err := json.Marshal(struct {
		Time      time.Time `json:"time"`
		Client    string    `json:"client"`
		Host      string    `json:"host"`
		Method    string    `json:"method"`
		URI       string    `json:"uri"`
		Protocol  string    `json:"protocol"`
		Status    int       `json:"status"`
		Bytes     int64     `json:"bytes"`
		Seconds   float64   `json:"seconds"`
		Aborted   bool      `json:"aborted"`
		File      string    `json:"file,omitempty"`
		Referer   string    `json:"referer,omitempty"`
		UserAgent string    `json:"user_agent,omitempty"`
	}{begin, clientOf(r), r.Host, r.Method, r.RequestURI, r.Proto, w.status, w.bytes,
		time.Since(begin).Seconds(), w.aborted, w.file, r.Header.Get("Referer"), r.Header.Get("User-Agent")})
	if err != nil {
		return b
	}
	return append(appendControls(b, line), '\n')
}

// appendControls escapes the control characters that JSON lets stand: DEL, and
// the second set, which a terminal obeys as well.
func appendControls(b, line []byte) []byte {
	for len(line) > 0 {
		r, n := utf8.DecodeRune(line)
		if unicode.IsControl(r) {
			b = fmt.Appendf(b, `\u%04x`, r)
		} else {
			b = append(b, line[:n]...)
		}
		line = line[n:]
	}
	return b
}
