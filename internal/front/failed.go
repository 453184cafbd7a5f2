package front

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"sluice/internal/exchange"
)

// failed answers a request that went wrong, or ends its connection so that the
// client can tell.
func (h *Handler) failed(w *response, r *http.Request, err error) {
	var e *exchange.Error
	if !errors.As(err, &e) {
		e = &exchange.Error{Kind: exchange.FileBroken, Err: err}
	}
	h.note(w, r, e)
	if e.Started || w.status != 0 {
		w.aborted = true
		w.abort()
	}
	if e.Kind == exchange.ClientGone {
		w.status = e.Kind.Status()
		w.abort()
	}
	clear(w.Header())
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(e.RetryAfter))
	}
	switch e.Kind {
	case exchange.BodyTooLarge, exchange.BodyBroken, exchange.BodyTimeout:
		// What is left of the body is of no use to anybody.
		w.Header().Set("Connection", "close")
	}
	if e.Kind == exchange.FileShed {
		h.Shed.hold(r.Context())
		h.Shed.answer(w)
		return
	}
	answer(w, e.Kind.Status())
}

func (h *Handler) note(w *response, r *http.Request, e *exchange.Error) {
	if e.Kind.Status() == http.StatusServiceUnavailable && !h.mayNote(w.app) {
		return
	}
	args := []any{"method", r.Method, "request", r.RequestURI, "client", r.RemoteAddr}
	if w.app != "" {
		args = append(args, "app", w.app)
	}
	if e.PID != 0 {
		args = append(args, "pid", e.PID)
	} else if e.Address != "" {
		args = append(args, "address", e.Address)
	}
	if e.Started {
		args = append(args, "aborted", true)
	}
	if e.Err != nil {
		args = append(args, "err", e.Err)
	}
	h.Log.Log(context.WithoutCancel(r.Context()), e.Kind.Level(), e.Kind.String(), args...)
}

// answer is the page of a status.
func answer(w *response, status int) error {
	return page(w, status, "text/plain; charset=utf-8", fmt.Appendf(nil, "%d %s\n", status, http.StatusText(status)))
}

// page is an answer of the front itself. It is nobody's file, and waits for no rate.
func page(w *response, status int, kind string, body []byte) error {
	h := w.Header()
	w.decelerate()
	h.Set("Content-Type", kind)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, err := w.Write(body)
	if errors.Is(err, http.ErrBodyNotAllowed) {
		err = nil
	}
	if err != nil {
		return &exchange.Error{Kind: exchange.SendFailed, Started: true, Err: err}
	}
	return nil
}
