package sendfile

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// Reply is one answer whose body is a file. Prepare makes the header, Send sends; Serve does both.
type Reply struct {
	Status int               // the child's; 0 means 200
	Type   TypePolicy        // whose Content-Type
	Types  map[string]string // ".ext" to media type; beats the built-in table
	Reads  *Reads            // bounds the reads that wait for a disk; nil: no bounds
	Form   Form              // in which the file is sent
	Steer  Steer             // its Charset is put into the Content-Type

	// Answer, Sent and Whole are set by Send, also when it fails.
	Answer int   // the status that went out, such as 206 or 304; 0: nothing went out
	Sent   int64 // bytes of the body, as handed to the ResponseWriter and accepted by it
	Whole  bool  // the body was all of the file, and was accepted to its end; never for HEAD, 304, or a range

	modified string   // the Last-Modified that Prepare set
	room     []string // for values of fields, see set
}

// Reply returns a Reply with the Sender's policy for types.
func (s *Sender) Reply(status int) *Reply {
	return &Reply{Status: status, Type: s.policy, Types: s.types, Reads: s.reads}
}

// Serve answers r with f, with the status and the headers of the child, which are in w.Header() already. It is
// Reply.Serve with the child's Content-Type kept.
func Serve(w http.ResponseWriter, r *http.Request, status int, f *File) error {
	return (&Reply{Status: status}).Serve(w, r, f)
}

// Serve is Prepare and Send. It does not close f.
func (p *Reply) Serve(w http.ResponseWriter, r *http.Request, f *File) error {
	p.Prepare(w.Header(), f)
	return p.Send(w, r, f)
}

// Prepare turns the child's header into that of the file. Everything is kept, but for:
//
//   - Content-Length, Transfer-Encoding and Trailer, which described the child's body, and the send-file family: removed;
//   - Content-Type: by p.Type, never guessed from the content;
//   - with status 200, ETag and Last-Modified: the file's if the child set none; Content-Range: removed; what p.Form says.
//
// A header with an empty value counts as not set.
func (p *Reply) Prepare(h http.Header, f *File) {
	p.strip(h)
	if bodyless(p.status()) {
		return
	}
	p.setType(h, f)
	p.Steer.Recode(h)
	if p.status() != http.StatusOK {
		return
	}
	delete(h, "Content-Range")
	p.Form.apply(h)
	own := f.fields()
	if first(h["Etag"]) == "" {
		p.set(h, "Etag", own.etag)
	}
	if first(h["Last-Modified"]) == "" {
		delete(h, "Last-Modified")
		if p.modified = own.lastModified; p.modified != "" {
			p.set(h, "Last-Modified", p.modified)
		}
	}
}

// strip removes what was said about the child's body.
func (p *Reply) strip(h http.Header) {
	Strip(h)
	delete(h, "Content-Length")
	delete(h, "Transfer-Encoding")
	delete(h, "Trailer")
}

// setType applies the policy for the Content-Type of a file.
func (p *Reply) setType(h http.Header, f *File) {
	child := first(h["Content-Type"])
	if child != "" && p.Type != TypeFile && !(p.Type == TypeDefault && isHTML(child)) {
		return
	}
	name := p.Form.Name
	if name == "" {
		name = f.name
	}
	p.set(h, "Content-Type", typeOf(name, p.Types))
}

// set sets a field whose name is canonical. The values of one answer share an array.
func (p *Reply) set(h http.Header, name, value string) {
	if len(p.room) == 0 {
		p.room = make([]string, fieldsSet)
	}
	p.room[0] = value
	h[name] = p.room[:1:1]
	p.room = p.room[1:]
}

// fieldsSet is how many fields an answer gets.
const fieldsSet = 5

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// Send sends header and body after Prepare.
//
// With status 200 the answer is http.ServeContent's: conditionals (RFC 9110 section 13; against the ETag and the
// Last-Modified in the header, thus the child's if it set them), ranges (section 14), HEAD. It differs from it so: a
// range unit other than bytes, more than MaxRanges ranges, and a Range on a method other than GET and HEAD are ignored, as
// is any Range on an empty file; a suffix of no bytes is unsatisfiable; "Accept-Ranges: none" from the child turns ranges
// off; and there is always a Content-Length.
//
// The conditions of a method other than GET and HEAD are answered with 412, although the child has done its work then.
//
// Any other status is sent with the whole file as body and neither conditionals nor ranges; 204, 205 and 304 have no
// body.
//
// An error means that the client did not get all that the header promised, as the file shrank or could not be read, or
// the client left: the connection is of no use any more. Nothing was sent, and Answer is 0, only for a status outside
// 200 to 999 and for ErrBusy: both are an *Error.
func (p *Reply) Send(w http.ResponseWriter, r *http.Request, f *File) error {
	p.Answer, p.Sent, p.Whole = 0, 0, false
	err := p.send(w, r, f)
	p.Whole = err == nil && r.Method != http.MethodHead && p.Answer == p.status() && !bodyless(p.Answer) && p.Sent == f.Size()
	return err
}

func (p *Reply) send(w http.ResponseWriter, r *http.Request, f *File) error {
	status := p.status()
	if err := p.sendable(f.Name()); err != nil {
		return err
	}
	if status == http.StatusOK && f.Size() <= smallFile && unconditional(r) {
		if done, err := p.sendSmall(w, r, f); done {
			return err
		}
	}
	c := p.content(r, f)
	out := &writer{ResponseWriter: w, content: c, head: r.Method == http.MethodHead, size: f.Size()}
	h := w.Header()
	switch {
	case status == http.StatusOK:
		if h.Get("Content-Type") == "" {
			h.Set("Content-Type", octetStream)
		}
		out.acceptRanges = h.Get("Accept-Ranges")
		// An unparsable or zero time makes ServeContent leave the header alone, and ignore the conditions on it.
		modTime, err := http.ParseTime(h.Get("Last-Modified"))
		if err != nil {
			modTime = time.Time{}
		}
		http.ServeContent(out, usableRange(r, out.acceptRanges, f.Size()), "", modTime, c)
	case bodyless(status):
		sendNothing(out, status)
	default:
		h.Set("Content-Length", strconv.FormatInt(f.Size(), 10))
		out.WriteHeader(status)
		if !out.head {
			io.CopyN(out, c, f.Size())
		}
	}
	c.stop()
	p.Answer, p.Sent = out.status, out.sent
	return out.result(c.Err(), f.Name())
}

// content is that of a file, within the bounds of Reads.
func (p *Reply) content(r *http.Request, f *File) *Content {
	c := f.Content()
	c.resident.reads, c.resident.ctx = p.Reads, r.Context()
	return c
}

// sendable refuses a status that no answer with a body has.
func (p *Reply) sendable(name string) error {
	if status := p.status(); status < 200 || status > 999 {
		return &Error{Op: "serve", Path: name, Status: http.StatusBadGateway, Rule: fmt.Sprintf("status %d cannot have a file", status)}
	}
	return nil
}

// sendNothing is the answer of a status without content.
func sendNothing(out *writer, status int) {
	if status == http.StatusResetContent {
		out.Header().Set("Content-Length", "0") // RFC 9110 section 15.3.6
	}
	out.WriteHeader(status)
}

func (p *Reply) status() int {
	if p.Status == 0 {
		return http.StatusOK
	}
	return p.Status
}

// bodyless reports whether answers of a status have no content.
func bodyless(status int) bool {
	switch status {
	case http.StatusNoContent, http.StatusResetContent, http.StatusNotModified:
		return true
	}
	return false
}
