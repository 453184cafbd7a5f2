package wire

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
)

// SetContext sets the context of the request, up to Reset.
func (h *Head) SetContext(ctx context.Context) {
	h.Request = *h.Request.WithContext(ctx) // inlined: nothing is allocated
}

// message is what the fields say about the message itself.
type message struct {
	hosts      int
	host       string
	length     int64 // -1: none
	coded      bool  // there is a Transfer-Encoding
	chunked    bool
	unknown    bool // a coding that is not chunked
	close      bool
	keepAlive  bool
	expects    bool
	misexpects bool
}

// fill makes the request from the text of a head whose parts have been found.
func (h *Head) fill(text string) *Error {
	r := &h.Request
	r.Method = text[:h.method-h.begin]
	r.RequestURI = text[h.target-h.begin : h.version-1-h.begin]
	r.Proto = text[h.version-h.begin:][:len(versionForm)]
	r.ProtoMajor, r.ProtoMinor = 1, int(r.Proto[len(r.Proto)-1]-'0')
	r.Body = http.NoBody
	r.URL = &h.url
	if err := h.setURL(r.Method, r.RequestURI); err != nil {
		return err
	}
	m := message{length: -1}
	if err := h.setHeader(text, &m); err != nil {
		return err
	}
	if err := h.setHost(&m); err != nil {
		return err
	}
	if err := h.setFraming(&m); err != nil {
		return err
	}
	r.Close = m.close || r.ProtoMinor == 0 && !m.keepAlive
	h.KeepAlive = !r.Close
	if m.misexpects {
		return errExpectation
	}
	// HTTP/1.0 does not know it, and without a body there is nothing to wait for.
	h.Continue = m.expects && r.ProtoMinor > 0 && r.ContentLength != 0
	return nil
}

// setHeader fills the Header with what handlers are to see.
func (h *Head) setHeader(text string, m *message) *Error {
	if h.header == nil {
		h.header = make(http.Header, max(len(h.fields), 8))
	}
	if len(h.fields) >= cap(h.values) {
		h.values = make([]string, 0, max(len(h.fields)+1, 16))
	}
	for _, f := range h.fields {
		name, value := text[f.name:f.colon], text[f.value:f.end]
		shown, err := m.note(name, value)
		if err != nil {
			return err
		}
		if shown {
			h.add(name, value)
		}
	}
	h.Request.Header = h.header
	// As net/http does (RFC 9111 section 5.4).
	if p := h.header["Pragma"]; len(p) > 0 && p[0] == "no-cache" && h.header["Cache-Control"] == nil {
		h.add("Cache-Control", "no-cache")
	}
	return nil
}

func (h *Head) add(name, value string) {
	if old, ok := h.header[name]; ok {
		h.header[name] = append(old, value)
		return
	}
	i := len(h.values)
	h.values = append(h.values, value)
	// Nobody who appends gets into the next one.
	h.header[name] = h.values[i : i+1 : i+1]
}

// note takes what a field says about the message, and whether it is shown to
// handlers.
func (m *message) note(name, value string) (shown bool, err *Error) {
	switch name {
	case "Host":
		m.hosts++
		m.host = value
		return false, nil
	case "Content-Length":
		if m.length >= 0 {
			return false, errLengths
		}
		var ok bool
		if m.length, ok = decimal(value); !ok {
			return false, errLength
		}
	case "Transfer-Encoding":
		return false, m.noteCodings(value)
	case "Connection":
		for rest, more := value, true; more; {
			var option string
			option, rest, more = element(rest)
			m.close = m.close || isWord(option, "close")
			m.keepAlive = m.keepAlive || isWord(option, "keep-alive")
		}
	case "Expect":
		for rest, more := value, true; more; {
			var what string
			what, rest, more = element(rest)
			if isWord(what, "100-continue") {
				m.expects = true
			} else if what != "" {
				m.misexpects = true
			}
		}
	}
	return true, nil
}

// noteCodings takes a Transfer-Encoding: chunked has to be the last coding, and
// once (RFC 9112 section 6.1).
func (m *message) noteCodings(value string) *Error {
	m.coded = true
	for rest, more := value, true; more; {
		var coding string
		coding, rest, more = element(rest)
		switch {
		case coding == "" || m.chunked || class[coding[0]]&inToken == 0:
			return errCoding
		case isWord(coding, "chunked"):
			m.chunked = true
		case len(coding) > len("chunked") && isWord(coding[:len("chunked")], "chunked") && class[coding[len("chunked")]]&inToken == 0:
			return errCoding // it has no parameters (section 7.1)
		default:
			m.unknown = true
		}
	}
	return nil
}

// element cuts the first element off a list (RFC 9110 section 5.6.1).
func element(list string) (first, rest string, more bool) {
	for i := range len(list) {
		if list[i] == ',' {
			return trim(list[:i]), list[i+1:], true
		}
	}
	return trim(list), "", false
}

// setHost: the host of the target beats the field, which has to be there all
// the same (RFC 9112 section 3.2).
func (h *Head) setHost(m *message) *Error {
	switch {
	case m.hosts > 1:
		return errHosts
	case m.hosts == 0 && h.Request.ProtoMinor > 0:
		return errNoHost
	case !all(m.host, inHost) || !all(h.url.Host, inHost):
		return errHost
	case !hasGoodPort(m.host):
		return errPort
	}
	h.Request.Host = m.host
	if h.url.Host != "" {
		h.Request.Host = h.url.Host
	}
	return nil
}

// hasGoodPort: what stands behind the colon of a Host is a number or nothing,
// but an IPv6 address may lack its brackets, as some clients write it. Package
// url has seen to the port of a target.
func hasGoodPort(host string) bool {
	rest := host[strings.LastIndexByte(host, ']')+1:]
	_, port, found := strings.Cut(rest, ":")
	if !found {
		return true
	}
	for i := range len(port) {
		if port[i] < '0' || port[i] > '9' {
			_, err := netip.ParseAddr(host)
			return err == nil
		}
	}
	return true
}

// setFraming says where the body ends (RFC 9112 section 6.3).
func (h *Head) setFraming(m *message) *Error {
	switch {
	case !m.coded:
		h.Request.ContentLength = max(0, m.length)
		return nil
	case m.length >= 0:
		return errLengthCoding
	case h.Request.ProtoMinor == 0:
		return errOldCoding
	case m.unknown:
		return errUnknownCode
	}
	h.coding[0] = "chunked"
	h.Request.TransferEncoding = h.coding[:]
	h.Request.ContentLength = -1
	return h.dropTrailerNames()
}

// dropTrailerNames removes the announcement of what is dropped as well. Who
// announces framing tries something (RFC 9110 section 6.5.1).
func (h *Head) dropTrailerNames() *Error {
	for _, list := range h.header["Trailer"] {
		for more := true; more; {
			var name string
			name, list, more = element(list)
			if isWord(name, "transfer-encoding") || isWord(name, "content-length") || isWord(name, "trailer") {
				return errTrailerNames
			}
		}
	}
	delete(h.header, "Trailer")
	return nil
}

// decimal is a number of at most 18 digits, and digits only.
func decimal(s string) (n int64, ok bool) {
	if len(s) == 0 || len(s) > 18 {
		return -1, false
	}
	for i := range len(s) {
		c := s[i] - '0'
		if c > 9 {
			return -1, false
		}
		n = n*10 + int64(c)
	}
	return n, true
}
