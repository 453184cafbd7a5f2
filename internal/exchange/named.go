package exchange

import (
	"errors"
	"io"
	"net/http"

	"sluice/cgi"
	"sluice/sendfile"
)

// Sent is what became of the file that a child named in a send-file header.
type Sent struct {
	Order    sendfile.Order // its Header is "" where no file was named
	Opened   bool           // there was one to send
	Status   int            // that went out; 0: no part of an answer with the file did
	Bytes    int64          // of the body
	Complete bool           // the client was sent all that its header promised; with Request.Confirm, has it
}

// named answers with what the child names: a file, slices of several, or a file
// that is unlinked behind a complete send. The child has been let go.
func (x *run) named(order sendfile.Order, h *cgi.Header, steer sendfile.Steer) error {
	sent := &x.req.Sent
	*sent = Sent{Order: order}
	switch order.Means {
	case sendfile.Slices:
		parts, err := x.Sender.OpenSlices(order)
		if err != nil {
			return x.fileError(err)
		}
		defer parts.Close()
		p := x.begins(h, steer)
		return x.ended(p, p.ServeParts(x.w, x.req.HTTP, parts))
	case sendfile.Temporary:
		f, err := x.Sender.OpenTemporary(order)
		if err != nil {
			return x.fileError(err)
		}
		defer f.Close()
		p := x.begins(h, steer)
		x.req.Confirm = true
		err = x.ended(p, p.Serve(x.w, x.req.HTTP, f.File))
		if err == nil && p.Whole {
			x.remove(f)
		}
		return err
	}
	f, form, err := x.Sender.OpenFor(order, x.req.HTTP, h.Code(), h.Fields)
	if err != nil {
		return x.fileError(err)
	}
	defer f.Close()
	p := x.begins(h, steer)
	p.Form = form
	return x.ended(p, p.Serve(x.w, x.req.HTTP, f))
}

// begins is the answer that is about to be sent.
func (x *run) begins(h *cgi.Header, steer sendfile.Steer) *sendfile.Reply {
	x.req.Sent.Opened = true
	x.giveBack() // a download may take hours
	copyHeader(x.w.Header(), h)
	steer.Expire(x.w.Header(), x.req.clock.now())
	p := x.Sender.Reply(h.Code())
	p.Steer = steer
	return p
}

// ended notes how it was sent.
func (x *run) ended(p *sendfile.Reply, err error) error {
	if err == nil && p.Sent > 0 && x.req.Confirm {
		err = confirm(x.w)
	}
	s := &x.req.Sent
	s.Status, s.Bytes, s.Complete = p.Answer, p.Sent, err == nil
	return x.sent(err)
}

// confirm waits until the client has what was sent, where its connection knows.
func confirm(w http.ResponseWriter) error {
	for {
		if c, ok := w.(interface{ Confirm() error }); ok {
			return c.Confirm()
		}
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return nil
		}
		w = u.Unwrap()
	}
}

// remove unlinks a temporary file. Whoever waits for more of the disk learns
// from the log that it stayed.
func (x *run) remove(f *sendfile.TemporaryFile) {
	if err := f.Remove(); err != nil {
		x.Log.Warn("temporary file stays", x.child(), "err", err)
	}
}

func (x *run) sent(err error) error {
	if err == nil {
		return nil
	}
	e := SendError(err)
	e.PID, e.Address = x.pid, x.address
	return e
}

// SendError is what an error of sendfile.Reply.Send means.
func SendError(err error) *Error {
	e := &Error{Kind: SendFailed, Started: true, Err: err}
	switch {
	case errors.Is(err, sendfile.ErrBusy):
		e.Kind, e.Started, e.RetryAfter = FileShed, false, 1
	case errors.Is(err, sendfile.ErrStore):
		e.Kind = StoreBroken
	case errors.Is(err, io.ErrUnexpectedEOF):
		e.Kind = FileBroken
	}
	return e
}

func (x *run) fileError(err error) error {
	if errors.Is(err, sendfile.ErrBusy) {
		return x.sent(err)
	}
	kind := BadSendFile
	var e *sendfile.Error
	if errors.As(err, &e) {
		switch e.Status {
		case http.StatusNotFound:
			kind = FileMissing
		case http.StatusForbidden:
			kind = FileRefused
		case http.StatusInternalServerError:
			kind = FileBroken
		case http.StatusServiceUnavailable:
			if kind = FileBusy; e.Op == "take" {
				kind = NoStore
			}
		}
	}
	return &Error{Kind: kind, PID: x.pid, Address: x.address, Err: err}
}
