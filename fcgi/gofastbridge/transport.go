package gofastbridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"sluice/cgi"
	"sluice/fcgi"
)

// Dial gets a connection to the application for one request. It may wait for
// one until ctx ends. A connection that was kept from an earlier request is
// returned only if the request is repeatable, since the application may close
// it at any moment. An *Error sets the status of the answer; any other error
// is 502, or 504 where the deadline of ctx passed.
type Dial func(ctx context.Context, repeatable bool) (net.Conn, Done, error)

// Done gives a connection back; it is called once. keep is the connection if
// another request may be sent on it, and nil if it has been closed. err is nil
// if the application answered to the end. Otherwise it wraps cgi.ErrDied or a
// *fcgi.StatusError if the application is rid of the request, and any other
// error means that it may compute on.
type Done func(keep net.Conn, err error)

// DialTo returns a Dial that makes a connection for every request and keeps
// none: what gofast.SimpleConnFactory does.
func DialTo(network, address string) Dial {
	var d net.Dialer
	return func(ctx context.Context, _ bool) (net.Conn, Done, error) {
		nc, err := d.DialContext(ctx, network, address)
		if err != nil {
			return nil, nil, err
		}
		return nc, func(keep net.Conn, _ error) {
			if keep != nil {
				keep.Close()
			}
		}, nil
	}
}

// Transport is how requests reach an application. It must not be changed while
// it is in use, and may be shared by any number of requests.
type Transport struct {
	Dial Dial
	// KeepConn asks the application to leave connections open (FCGI_KEEP_CONN).
	// It is what gofast.Request.KeepConn begins as; the request's value counts.
	KeepConn bool

	HeaderBytes   int           // longest header block of the application; 0: 64 KiB
	HeaderTimeout time.Duration // to the end of the header block; 0: none
	ReadTimeout   time.Duration // between two reads of the body; 0: none
	WriteTimeout  time.Duration // of each write to the application; 0: none

	// BodyBytes is the longest request body of unknown length, which is read
	// before the application is asked, so that its length can be told; 0:
	// 1 GiB. What does not fit 64 KiB goes to an unlinked file in BodyDir; "":
	// the system's folder for temporary files.
	BodyBytes int64
	BodyDir   string

	Software          string            // SERVER_SOFTWARE; "": sluice
	PassAuthorization bool              // lets the client's Authorization through
	Env               map[string]string // replaces the variables of these names, whatever a chain says

	Errors *cgi.ErrorLog // the application's standard error; nil: thrown away
	Log    *slog.Logger  // requests that failed; nil: nothing is logged
}

func (t *Transport) headerBytes() int {
	if t.HeaderBytes > 0 {
		return t.HeaderBytes
	}
	return 64 << 10
}

// meta is what the variables of a request are made from. Without a chain that
// knows better, the whole path is PATH_INFO.
func (t *Transport) meta(r *http.Request) *cgi.Meta {
	m := &cgi.Meta{
		Request:           r,
		PathInfo:          r.URL.Path,
		Software:          t.Software,
		PassAuthorization: t.PassAuthorization,
		Env:               t.Env,
	}
	if m.Software == "" {
		m.Software = "sluice"
	}
	m.Local, _ = r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return m
}

// Error is a request that failed. A middleware may return one to choose the
// status of the answer.
type Error struct {
	Status  int  // what the client gets; 499: it has gone, and gets nothing
	Started bool // a part of the answer may have reached the client
	Err     error
}

func (e *Error) Error() string { return fmt.Sprintf("gofastbridge: %v", e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// clientGone is the status of a request that nobody waits for any more.
const clientGone = 499

// asError gives an error of the exchange with an application its status.
func asError(err error) *Error {
	var have *Error
	var status *fcgi.StatusError
	var input *fcgi.InputError
	switch {
	case errors.As(err, &have):
		return have
	case errors.As(err, &input):
		return inputError(input.Err)
	case errors.As(err, &status) && status.Refused():
		return &Error{Status: http.StatusServiceUnavailable, Err: err}
	case errors.As(err, &status) && status.UnknownRole():
		return &Error{Status: http.StatusInternalServerError, Err: err}
	}
	return &Error{Status: http.StatusBadGateway, Err: err}
}

// inputError is a request body that could not be read to its end.
func inputError(err error) *Error {
	var long *http.MaxBytesError
	var have *Error
	switch {
	case errors.As(err, &have):
		return have
	case errors.As(err, &long):
		return &Error{Status: http.StatusRequestEntityTooLarge, Err: err}
	}
	return &Error{Status: http.StatusBadRequest, Err: fmt.Errorf("read the request body: %w", err)}
}

// ctxError is a request whose context ended.
func ctxError(ctx context.Context) *Error {
	err := context.Cause(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return &Error{Status: http.StatusGatewayTimeout, Err: err}
	}
	return &Error{Status: clientGone, Err: err}
}
