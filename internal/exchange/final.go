package exchange

import (
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
	return x.named(order, h)
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
