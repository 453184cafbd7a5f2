package exchange

import (
	"errors"
	"io"
	"net/http"

	"sluice/cgi"
	"sluice/sendfile"
)

// final acts on the final header block.
func (x *run) final(h *cgi.Header, rest []byte) error {
	if x.req.asks {
		stripVariables(h.Fields)
	}
	if x.Sender == nil || x.req.asks {
		sendfile.Strip(h.Fields)
		return x.relay(h, rest)
	}
	order, _, ok, err := x.Sender.Take(h.Fields)
	if err != nil {
		x.release()
		return x.fileError(err)
	}
	if !ok {
		return x.relay(h, rest)
	}
	x.release()
	f, err := x.Sender.Open(order)
	if err != nil {
		return x.fileError(err)
	}
	defer f.Close()
	x.giveBack() // a download may take hours
	copyHeader(x.w.Header(), h)
	return x.sent(x.Sender.Reply(h.Code()).Serve(x.w, x.req.HTTP, f))
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
	switch {
	case errors.Is(err, sendfile.ErrBusy):
		return &Error{Kind: FileShed, RetryAfter: 1, Err: err}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &Error{Kind: FileBroken, Started: true, Err: err}
	}
	return &Error{Kind: SendFailed, Started: true, Err: err}
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
			kind = FileBusy
		}
	}
	return &Error{Kind: kind, PID: x.pid, Address: x.address, Err: err}
}

// copyHeader puts the child's fields into the answer. An answer without a
// Content-Type stays without one: guessing could turn text into a page.
func copyHeader(out http.Header, h *cgi.Header) {
	for k, v := range h.Fields {
		out[k] = v
	}
	if _, ok := out["Content-Type"]; !ok {
		out["Content-Type"] = nil
	}
}
