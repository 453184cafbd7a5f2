package sendfile

import (
	"net/http"
	"strconv"
	"strings"
)

// Form is the content coding in which a file is sent. The zero value is the file as it is.
type Form struct {
	Coding string // of Content-Encoding; "": none
	Name   string // of the file that was named, whose type the body has behind the coding; "": that of the open file
	Asked  bool   // Accept-Encoding decided: the answer to another may be another (Vary)
}

// coding is a content coding in which a file may lie beside another.
type coding struct {
	name    string // RFC 9110 section 8.4.1, RFC 7932, RFC 8878
	ending  string // of the neighbour's name
	another string // that means the same (RFC 9110 section 8.4.1.3)
}

// codings are in the order in which they are tried where the client has no preference.
var codings = [...]coding{{"zstd", ".zst", ""}, {"br", ".br", ""}, {"gzip", ".gz", "x-gzip"}}

// OpenFor is Open for one request: with Options.Precompressed it opens instead of the file the one of its neighbours
// file.zst, file.br and file.gz that the client prefers (RFC 9110 section 12.5.3), if it likes none less than the file
// itself. The result belongs into Reply.Form.
//
// The file itself must be there: its errors are those of Open. A neighbour is opened by the same rules; one that may not
// be, is no regular file, or is empty, which no compressed file is, is as if it were not there. Which of the two is older
// is not looked at, as in nginx (gzip_static). Where the child has encoded the body itself, or its status is not 200,
// nothing is chosen. A client that accepts nothing that there is gets the file as it is.
func (s *Sender) OpenFor(o Order, r *http.Request, status int, h http.Header) (*File, Form, error) {
	f, err := s.Open(o)
	if err != nil || !s.neighbours || status != http.StatusOK || first(h["Content-Encoding"]) != "" {
		return f, Form{}, err
	}
	for _, c := range preferred(r.Header["Accept-Encoding"]) {
		if n, err := s.Open(Order{Path: o.Path + c.ending, Size: -1}); err == nil {
			if n.Size() > 0 {
				form := Form{Coding: c.name, Name: f.Name(), Asked: true}
				f.Close()
				return n, form, nil
			}
			n.Close()
		}
	}
	return f, Form{Asked: true}, nil
}

// apply says the form in the header. The child's ETag is that of the file as it is, and must not stand for the other.
func (f *Form) apply(h http.Header) {
	if f.Asked {
		varies(h)
	}
	if f.Coding != "" {
		h["Content-Encoding"] = []string{f.Coding}
		delete(h, "Etag")
	}
}

// varies adds Accept-Encoding to Vary, unless it is there.
func varies(h http.Header) {
	const name = "Accept-Encoding"
	for _, v := range h["Vary"] {
		for field := range strings.SplitSeq(v, ",") {
			if field = strings.Trim(field, " \t"); field == "*" || strings.EqualFold(field, name) {
				return
			}
		}
	}
	h["Vary"] = append(h["Vary"][:len(h["Vary"]):len(h["Vary"])], name)
}

// preferred are the codings that the client likes at least as much as none, the best first.
func preferred(values []string) (list []coding) {
	var q [len(codings)]int // thousandths; unsaid: -1
	for i := range q {
		q[i] = -1
	}
	rest, identity := 0, 0 // of "*"; unlisted, "identity" is what one takes for want of better
	for _, v := range values {
		for item := range strings.SplitSeq(v, ",") {
			name, weight, ok := weighed(item)
			if !ok {
				continue
			}
			switch {
			case name == "*":
				rest = weight
			case strings.EqualFold(name, "identity"):
				identity = weight
			}
			for i, c := range codings {
				if strings.EqualFold(name, c.name) || c.another != "" && strings.EqualFold(name, c.another) {
					q[i] = max(q[i], weight)
				}
			}
		}
	}
	for best := 1000; best > 0 && best >= identity; {
		next := 0
		for i, c := range codings {
			w := q[i]
			if w < 0 {
				w = rest
			}
			switch {
			case w == best:
				list = append(list, c)
			case w < best:
				next = max(next, w)
			}
		}
		best = next
	}
	return list
}

// weighed reads an item of Accept-Encoding; its weight is in thousandths. What is none is passed over.
func weighed(item string) (name string, weight int, ok bool) {
	name, param, has := strings.Cut(strings.Trim(item, " \t"), ";")
	name = strings.TrimRight(name, " \t")
	if !has {
		return name, 1000, name != ""
	}
	param = strings.TrimLeft(param, " \t")
	if len(param) < 2 || param[0]|0x20 != 'q' || param[1] != '=' {
		return "", 0, false
	}
	whole, part, _ := strings.Cut(param[2:], ".")
	if len(part) > 3 || whole != "0" && whole != "1" {
		return "", 0, false
	}
	n, err := strconv.ParseUint((whole + part + "000")[:4], 10, 16)
	return name, int(n), err == nil && n <= 1000 && name != ""
}
