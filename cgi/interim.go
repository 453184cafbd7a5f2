package cgi

import "net/http"

// SendInterim sends the header as an interim answer (RFC 9110 section 15.2), at
// once, and leaves w as it was for the final one. A client of HTTP/1.0 does not
// know interim answers and gets none.
func (h *Header) SendInterim(w http.ResponseWriter, r *http.Request) {
	if !r.ProtoAtLeast(1, 1) {
		return
	}
	out := w.Header()
	for k, v := range h.Fields {
		out[k] = v
	}
	w.WriteHeader(h.Status)
	for k := range h.Fields {
		delete(out, k)
	}
}
