package http1

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"sluice/internal/front/wire"
	"sluice/internal/scoreboard"
)

// answer has the handler answer the request whose head is here, and decides
// what becomes of the connection.
func (c *conn) answer() bool {
	ctx := &requestContext{c: c}
	c.work.head.SetContext(ctx)
	r := &c.work.head.Request
	r.RemoteAddr = c.remoteAddr()
	b := c.body(r)
	res := &c.work.res
	res.begin(c, r, b)
	c.current.Store(ctx)
	if c.pc.Hungup() {
		c.hungup(c.pc.Broken()) // it may have been told before there was a request
	}
	c.pc.SetReadDeadline(time.Time{})
	c.move(scoreboard.Working)
	fine := c.handle(res, r)
	if res.hijacked {
		c.current.Store(nil)
		ctx.cancel()
		c.abandon()
		return false
	}
	if fine {
		fine = res.finish() // which may take its time: the client may leave meanwhile
	}
	c.current.Store(nil)
	ctx.cancel()
	asked := !c.work.head.KeepAlive
	if ctx.isWatched() {
		// Whoever does not wait for the handler, as http.TimeoutHandler, watches
		// its context: the request may still be somebody's.
		c.work.head = new(wire.Head)
	}
	return c.after(res, b, ending{aborted: !fine, asked: asked})
}

// handle calls the handler; false: it panicked.
func (c *conn) handle(res *response, r *http.Request) (fine bool) {
	defer func() {
		if fine {
			return
		}
		if p := recover(); p != nil && p != http.ErrAbortHandler {
			c.s.opt.Log.LogAttrs(r.Context(), slog.LevelError, "handler panicked", slog.String("client", r.RemoteAddr),
				slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
		}
	}()
	if asksServer(r) {
		return true // no handler has a place for it
	}
	c.s.opt.Handler.ServeHTTP(res, r)
	return true
}

// asksServer reports whether the question is about the server as a whole
// (RFC 9110 section 9.3.7). A client of a proxy asks so by an absolute target
// without path and query (RFC 9112 section 3.2.4).
func asksServer(r *http.Request) bool {
	return r.RequestURI == "*" || r.Method == http.MethodOptions && r.URL.Path == "" && r.URL.RawQuery == "" && !r.URL.ForceQuery
}

// after decides what becomes of the connection behind an answer: true is
// another request.
func (c *conn) after(res *response, b *body, e ending) bool {
	if res.limited {
		res.SetWriteDeadline(time.Time{})
	}
	e.unread = b != nil && !b.finish(!e.aborted && !res.close)
	if !e.aborted && !res.close && !e.unread {
		res.end()
		return true
	}
	if e.aborted {
		c.abandon()
	} else {
		res.end()
		c.release()
	}
	c.leave(e)
	return false
}

// refuse answers a request that is none, and ends the connection.
func (c *conn) refuse(bad *wire.Error) {
	c.busy()
	c.s.opt.Log.Info("bad request", "client", c.remoteAddr(), "status", bad.Status, "reason", bad.Reason)
	c.work.res.refuse(c, bad, true)
	c.release()
	c.leave(ending{unread: true, timeout: bad.Status == http.StatusRequestTimeout})
}

// refuse answers in place of the handler.
func (w *response) refuse(c *conn, bad *wire.Error, withBody bool) {
	text := fmt.Sprintf("%d %s\n", bad.Status, http.StatusText(bad.Status))
	b := wire.AppendStatusLine(w.out[:0], 1, bad.Status)
	b = append(b, "Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"...)
	if bad.Status == http.StatusServiceUnavailable {
		b = append(b, "Retry-After: "...)
		b = append(strconv.AppendInt(b, retryAfter, 10), "\r\n"...)
	}
	b = append(wire.AppendLength(wire.AppendDate(b, time.Now()), int64(len(text))), "\r\n"...)
	if withBody {
		b = append(b, text...)
	}
	w.out = b
	c.pc.Write(w.out)
}
