package exchange

import (
	"net/http"
	"slices"

	"sluice/cgi"
	"sluice/sendfile"
)

// final acts on the final header block.
func (x *run) final(h *cgi.Header, rest []byte) (Answer, error) {
	if x.req.asks {
		stripVariables(h.Fields)
	}
	if x.Sender == nil || x.req.asks {
		sendfile.Strip(h.Fields)
		if x.LimitRate > 0 && !x.req.asks {
			limitRate(x.w, x.LimitRate)
		}
		return Answer{}, x.relay(h, rest)
	}
	order, steer, ok, err := x.Sender.Take(h.Fields)
	if err != nil {
		x.release()
		return Answer{}, x.fileError(err)
	}
	if ok && order.Means == sendfile.Redirect {
		return x.redirect(h, order, steer)
	}
	steer = x.steered(steer)
	if !ok {
		x.steer(h.Fields, steer)
		return Answer{}, x.relay(h, rest)
	}
	x.release()
	if order.Means == sendfile.Reproxy {
		return Answer{}, x.reproxy(order, h, steer)
	}
	return Answer{}, x.named(order, h, steer)
}

// copyHeader puts the child's fields into the answer, in which those may be that
// are kept of a child that redirected here: all cookies are set. An answer without
// a Content-Type stays without one: guessing could turn text into a page.
func copyHeader(out http.Header, h *cgi.Header) {
	cookies := out["Set-Cookie"]
	for k, v := range h.Fields {
		out[k] = v
	}
	if len(cookies) > 0 {
		out["Set-Cookie"] = slices.Concat(cookies, h.Fields["Set-Cookie"])
	}
	if _, ok := out["Content-Type"]; !ok {
		out["Content-Type"] = nil
	}
}
