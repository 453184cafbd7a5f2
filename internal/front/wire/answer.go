package wire

import (
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

// AppendStatusLine appends the first line of an answer to a request of
// HTTP/1.minor, as net/http writes it.
func AppendStatusLine(dst []byte, minor, status int) []byte {
	if minor == 0 {
		dst = append(dst, "HTTP/1.0 "...)
	} else {
		dst = append(dst, "HTTP/1.1 "...)
	}
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ')
	if text := http.StatusText(status); text != "" {
		dst = append(dst, text...)
	} else {
		dst = append(dst, "status code "...)
		dst = strconv.AppendInt(dst, int64(status), 10)
	}
	return append(dst, '\r', '\n')
}

// AppendHeader appends the fields, sorted by name, without those that skip
// names and without those whose names are none. The blank line is not appended.
func AppendHeader(dst []byte, h http.Header, skip ...string) []byte {
	var few [40]string // more cost an allocation
	names := few[:0]
	for name := range h {
		if name != "" && all(name, inToken) && !slices.Contains(skip, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range h[name] {
			dst = AppendField(dst, name, value)
		}
	}
	return dst
}

// AppendField appends one field. Whatever the value, it stays one: CR, LF and
// NUL become blanks (RFC 9110 section 5.5), and blanks around it are removed.
func AppendField(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, ':', ' ')
	for len(value) > 0 && isSpace(value[0]) {
		value = value[1:]
	}
	for len(value) > 0 && isSpace(value[len(value)-1]) {
		value = value[:len(value)-1]
	}
	at := len(dst)
	dst = append(dst, value...)
	for i, c := range dst[at:] {
		if c == '\r' || c == '\n' || c == 0 {
			dst[at+i] = ' '
		}
	}
	return append(dst, '\r', '\n')
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == 0 }

// AppendLength appends a Content-Length.
func AppendLength(dst []byte, n int64) []byte {
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, n, 10)
	return append(dst, '\r', '\n')
}

// AppendChunkSize appends the line before a chunk of n bytes; behind the chunk
// belongs a CRLF. 0 is for the last one.
func AppendChunkSize(dst []byte, n int64) []byte {
	dst = strconv.AppendInt(dst, n, 16)
	return append(dst, '\r', '\n')
}

// date is a second, and the field for it.
type date struct {
	second int64
	field  []byte
}

var lastDate atomic.Pointer[date]

// AppendDate appends the Date field for now. The same second is formatted once.
func AppendDate(dst []byte, now time.Time) []byte {
	d := lastDate.Load()
	if s := now.Unix(); d == nil || d.second != s {
		d = &date{second: s, field: now.UTC().AppendFormat(nil, "Date: "+http.TimeFormat+"\r\n")}
		lastDate.Store(d)
	}
	return append(dst, d.field...)
}
