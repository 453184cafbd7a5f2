package exchange

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"sluice/cgi"
	"sluice/sendfile"
)

// Accel is what a child asks for by X-Accel-Redirect: that another URI of the site
// answers in its place. The child has been let go, and nothing has been sent.
type Accel struct {
	URL    *url.URL            // path and query
	Header http.Header         // what stays of the child's
	Steer  sendfile.Steer      // how the answer is to be sent
	Type   sendfile.TypePolicy // whose Content-Type a file gets
}

// redirect lets the child go, and leaves the answer to another URI.
func (x *run) redirect(h *cgi.Header, order sendfile.Order, steer sendfile.Steer) (Answer, error) {
	x.release()
	u, err := sendfile.Target(order.URI)
	if err != nil {
		return Answer{}, x.fileError(err)
	}
	steer = x.steered(steer)
	return Answer{Accel: &Accel{URL: u, Header: sendfile.Kept(h.Fields), Steer: steer, Type: x.Sender.Reply(0).Type}}, nil
}

// steered completes what the child says by what those before it said, and sets the
// client's rate: a child's word beats the configuration, also that of others.
func (x *run) steered(s sendfile.Steer) sendfile.Steer {
	if x.req.Steer != nil {
		s = s.Over(*x.req.Steer)
	}
	switch {
	case s.Rate >= 0:
		limitRate(x.w, s.Rate)
	case x.LimitRate > 0:
		limitRate(x.w, x.LimitRate)
	}
	return s
}

// limitRate holds the answer to a rate, where its writer can.
func limitRate(w http.ResponseWriter, rate int64) {
	if l, ok := w.(interface{ SetRate(int64) }); ok {
		l.SetRate(rate)
	}
}

// steer has the child's own body sent as it is to be.
func (x *run) steer(h http.Header, s sendfile.Steer) {
	switch s.Buffering {
	case sendfile.Yes:
		x.streams = false
	case sendfile.No:
		x.streams = true
	}
	s.Expire(h, x.req.clock.now())
	s.Recode(h)
}

// reproxy answers with what another server says. The child has been let go.
func (x *run) reproxy(order sendfile.Order, h *cgi.Header, steer sendfile.Steer) error {
	x.req.Sent = Sent{Order: order}
	x.giveBack()
	got, err := x.Fetcher.Fetch(x.req.HTTP, order, h.Code())
	if err != nil {
		return x.fetchError(err)
	}
	defer got.Close()
	if x.req.Whole && got.Size() < 0 && !got.Bodiless() {
		return x.fetchError(fmt.Errorf("%s does not say how long its answer is, which a client of HTTP/1.0 on a unix socket needs", got.URL))
	}
	x.req.Sent.Order.Path = got.URL
	p := x.begins(h, steer)
	return x.ended(p, p.Relay(x.w, x.req.HTTP, got))
}

func (x *run) fetchError(err error) error {
	kind := NoStore
	if e := (*sendfile.Error)(nil); !errors.As(err, &e) && errors.Is(err, context.Canceled) {
		kind = ClientGone
	}
	return &Error{Kind: kind, PID: x.pid, Address: x.address, Err: err}
}
