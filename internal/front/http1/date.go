package http1

import (
	"net/http"
	"sync/atomic"
	"time"
)

// dateCache is the Date field of the current second (RFC 9110 section 6.6.1).
type dateCache struct{ at atomic.Pointer[datedLine] }

type datedLine struct {
	second int64
	line   string
}

func (d *dateCache) append(b []byte, now time.Time) []byte {
	l := d.at.Load()
	if s := now.Unix(); l == nil || l.second != s {
		l = &datedLine{s, "Date: " + now.UTC().Format(http.TimeFormat) + "\r\n"}
		d.at.Store(l)
	}
	return append(b, l.line...)
}
