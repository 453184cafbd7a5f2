package front

import (
	"net/http"
	"net/url"
	"slices"
	"time"

	"sluice/internal/exchange"
	"sluice/sendfile"
)

// after is what two children ask for that redirected a request one after the
// other: the second's word counts, where it says something, and all cookies are
// set. What is said of how the answer is to be sent has been put together already.
func after(first, second *exchange.Accel) *exchange.Accel {
	if first == nil {
		return second
	}
	h := second.Header
	for name, v := range first.Header {
		switch {
		case name == "Set-Cookie":
			h[name] = slices.Concat(v, h[name])
		case len(h[name]) == 0:
			h[name] = v
		}
	}
	return second
}

// accelerated answers without a child of its own for one that redirected the
// request here, and notes for that one what became of what it named. first is the
// request as it was.
func (h *Handler) accelerated(w *response, r, first *http.Request, u *url.URL, t Target) error {
	s := &w.ask.Sent
	*s = exchange.Sent{Order: sendfile.Order{Header: "X-Accel-Redirect", Means: sendfile.Redirect, Path: u.Path}}
	var what *completion
	if w.sender.OnComplete != "" && !w.own {
		h.Completions.expect()
		defer func() { h.Completions.add(what) }()
	}
	err := h.plain(w, r, u, t)
	if s.Status == 0 {
		s.Status = w.status
	}
	what = h.named(w, first, &Target{App: w.sender}, err)
	return err
}

// sendNamed sends a file with what is kept of the header of the child that
// redirected the request here.
func (w *response) sendNamed(p *sendfile.Reply, r *http.Request, f *sendfile.File) error {
	w.accelerate()
	p.Type, p.Steer = w.accel.Type, w.accel.Steer
	p.Steer.Expire(w.Header(), time.Now())
	err := p.Serve(w, r, f)
	if c, ok := w.ResponseWriter.(interface{ Confirm() error }); ok && err == nil && p.Sent > 0 && w.sender.OnComplete != "" {
		err = c.Confirm()
	}
	s := &w.ask.Sent
	s.Opened, s.Status, s.Bytes, s.Complete = true, p.Answer, p.Sent, err == nil
	if err != nil {
		return exchange.SendError(err)
	}
	return nil
}

// accelerate puts into the header what is kept of the child's that redirected the
// request here.
func (w *response) accelerate() {
	h := w.Header()
	for name, v := range w.accel.Header {
		h[name] = v
	}
}

// decelerate takes that out again, and the rate off: the page of an error is none
// of the child's, and not the file that a Content-Disposition names.
func (w *response) decelerate() {
	w.SetRate(0)
	if w.accel == nil {
		return
	}
	for name := range w.accel.Header {
		delete(w.Header(), name)
	}
}

// SetRate limits how many bytes of the body a second the client gets; 0: no limit.
func (w *response) SetRate(bytesPerSecond int64) {
	if w.conn != nil {
		w.conn.SetRate(bytesPerSecond)
	}
}
