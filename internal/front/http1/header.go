package http1

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sluice/internal/front/wire"
)

// WriteHeader implements http.ResponseWriter. The fields are taken as they are
// now; a status of 100 to 199 but 101 is sent at once.
func (w *response) WriteHeader(status int) {
	switch {
	case w.hijacked:
		w.c.s.opt.Log.Warn("WriteHeader on a hijacked connection")
		return
	case status < 100 || status > 999:
		panic(fmt.Sprintf("http1: invalid status %d", status))
	case w.status != 0:
		w.c.s.opt.Log.Warn("superfluous WriteHeader", "request", w.r.RequestURI, "status", status)
		return
	case status < 200 && status != http.StatusSwitchingProtocols:
		w.interim(status)
		return
	}
	w.status = status
	w.bodiless = w.head || status == http.StatusNoContent || status == http.StatusNotModified || status < 200
	w.takeHeader()
}

// interim sends an answer before the final one; a client of HTTP/1.0 does not
// know them (RFC 9110 section 15.2).
func (w *response) interim(status int) {
	if !w.r.ProtoAtLeast(1, 1) {
		return
	}
	if status == http.StatusContinue && w.body != nil {
		w.body.asks.CompareAndSwap(wished, granted)
	}
	b := wire.AppendStatusLine(w.out[:0], 1, status)
	b = wire.AppendHeader(b, w.header, ownFields...)
	w.out = append(b, "\r\n"...)
	w.send(w.out, false)
}

// takeHeader takes the handler's fields, but for those that are the connection's.
func (w *response) takeHeader() {
	h := w.header
	if v, ok := h["Content-Length"]; ok && len(v) == 0 {
		w.unsized = true
	} else if ok {
		if n, err := strconv.ParseInt(first(v), 10, 64); err == nil && n >= 0 && len(v) == 1 {
			w.declared = n
		} else {
			w.c.s.opt.Log.Warn("invalid Content-Length of an answer", "request", w.r.RequestURI, "value", first(v))
		}
	}
	for _, v := range h["Connection"] {
		for t := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(t), "close") {
				w.close = true
			}
		}
	}
	if w.declared < 0 && !w.bodiless && strings.EqualFold(first(h["Transfer-Encoding"]), "identity") {
		w.close, w.untilEnd = true, true
	}
	_, typed := h["Content-Type"]
	w.sniff = !typed && first(h["Content-Encoding"]) == "" && (!w.bodiless || w.head)
	w.fields = wire.AppendStatusLine(w.fields[:0], 1, w.status)
	w.fields = wire.AppendHeader(w.fields, h, ownFields...)
	if _, ok := h["Date"]; !ok {
		w.fields = wire.AppendDate(w.fields, time.Now())
	}
}

// ownFields are the fields that the connection writes itself.
var ownFields = []string{"Content-Length", "Transfer-Encoding", "Connection", "Trailer", "Keep-Alive"}

func first(v []string) string {
	if len(v) == 0 {
		return ""
	}
	return v[0]
}

// frame decides how the body ends, and completes the header. whole says that all
// of the body is here.
func (w *response) frame(whole bool, body []byte) {
	if w.framed {
		return
	}
	w.framed = true
	if w.body != nil {
		w.body.answered()
	}
	if whole && w.declared < 0 && !w.untilEnd && !w.unsized && (!w.bodiless || w.head && w.taken > 0) {
		w.declared = w.taken
	}
	w.detect(body)
	if w.c.lastRequest() || !w.bodyWillEnd() {
		w.close = true
	}
	switch noLength := w.declared < 0 || w.status == http.StatusNoContent || w.status < 200; {
	case !noLength:
		w.fields = wire.AppendLength(w.fields, w.declared)
	case w.bodiless:
	case w.untilEnd || !w.r.ProtoAtLeast(1, 1):
		w.untilEnd, w.close = true, true
	default:
		w.chunked = true
		w.fields = append(w.fields, "Transfer-Encoding: chunked\r\n"...)
	}
	switch {
	case w.status == http.StatusSwitchingProtocols:
		w.fields = wire.AppendField(w.fields, "Connection", w.header.Get("Connection"))
	case w.close && (w.r.ProtoAtLeast(1, 1) || w.c.work.head.KeepAlive):
		w.fields = append(w.fields, "Connection: close\r\n"...)
	case !w.close && !w.r.ProtoAtLeast(1, 1):
		w.fields = append(w.fields, "Connection: keep-alive\r\n"...)
	}
	w.fields = append(w.fields, "\r\n"...)
}

// detect adds a Content-Type that fits the beginning of the body.
func (w *response) detect(body []byte) {
	if w.sniff && len(body) > 0 {
		w.sniff = false
		w.fields = wire.AppendField(w.fields, "Content-Type", http.DetectContentType(body))
	}
}

// lastRequest reports whether no other request is taken behind this one.
func (c *conn) lastRequest() bool {
	o := &c.s.opt
	return o.KeepaliveIdle <= 0 || o.KeepaliveRequests > 0 && c.served >= o.KeepaliveRequests || c.s.stopping.Load() || c.s.retiring.Load()
}

// bodyWillEnd reports whether what is left of the request's body can be thrown
// away, so that the next request is found.
func (w *response) bodyWillEnd() bool { return w.body == nil || w.body.short() }
