package sendfile

import (
	"net/http"
	"strings"
)

// Means is what a header of the family asks for.
type Means uint8

// The meanings that an Order has.
const (
	SendFile  Means = iota // send the file at this path
	Slices                 // send slices of files as one body
	Temporary              // send the file, and unlink it when the client has the whole of it
	Redirect               // answer with another URI of the site
	Reproxy                // fetch one of these URLs and send what it says

	steers   // changes how whatever is sent is sent
	stripped // nothing that is carried out here
)

var meansNames = [...]string{SendFile: "file", Slices: "slices", Temporary: "temporary file", Redirect: "redirect", Reproxy: "reproxy",
	steers: "steers", stripped: "stripped"}

// String names the meaning.
func (m Means) String() string { return word(meansNames[:], int(m)) }

// permission is what an application must have been given, beside the name of the header.
type permission uint8

const (
	noLeave     permission = iota
	roots                  // Options.Roots
	deleteRoots            // Options.DeleteRoots
	prefixes               // Options.Reproxy
)

// row is the policy for one response header of the family.
type row struct {
	name   string
	prefix bool // name is the beginning of every name it stands for
	means  Means
	needs  permission // for the header to act
	text   string     // what the header asks for
}

// family is every header by which an application steers the sending of a file. No row ever reaches a client.
var family = []row{
	{name: "X-Sendfile", means: SendFile, needs: roots, text: "send the file at this absolute path"},
	{name: "X-LIGHTTPD-send-file", means: SendFile, needs: roots, text: "send the file at this absolute path"},
	{name: "X-Sendfile2", means: Slices, needs: roots, text: "send slices of files as one body"},
	{name: "X-Sendfile-Temporary", means: Temporary, needs: deleteRoots, text: "send the file and then unlink it"},
	{name: "X-Accel-Redirect", means: Redirect, text: "answer with another URI of the site"},
	{name: "X-Accel-Buffering", means: steers, text: "spool the body or not"},
	{name: "X-Accel-Limit-Rate", means: steers, text: "bytes a second to the client"},
	{name: "X-Accel-Expires", means: steers, text: "how long the answer may be cached"},
	{name: "X-Accel-Charset", means: steers, text: "charset of the answer's type"},
	{name: "X-Reproxy-File", means: SendFile, needs: roots, text: "send the file at this absolute path"},
	{name: "X-Reproxy-URL", means: Reproxy, needs: prefixes, text: "fetch one of these URLs and send what it says"},
	{name: "X-Reproxy-Expected-Size", means: steers, text: "size that the body must have"},
	{name: "X-Reproxy-Cache-For", means: stripped, text: "remember the answer for other requests"},
	{name: "X-LIGHTTPD-", prefix: true, means: stripped, text: "reserved for the server"},
	{name: "X-Sendfile-", prefix: true, means: stripped, text: "of a dialect that is not known here"},
	{name: "X-Accel-", prefix: true, means: stripped, text: "of a dialect that is not known here"},
	{name: "X-Reproxy-", prefix: true, means: stripped, text: "of a dialect that is not known here"},
}

// requestPrefixes begin the names that a client must not send to an application: some frameworks believe them.
var requestPrefixes = []string{"X-Sendfile", "X-LIGHTTPD-", "X-Accel-", "X-Reproxy-"}

// thirdLetters are those behind the "X-" with which all names of the family begin, in lower case. Another
// alphabet's may be the same to strings.EqualFold.
var thirdLetters = func() (t [256]bool) {
	for i := range family {
		t[family[i].name[2]|0x20] = true
	}
	for c := 0x80; c < len(t); c++ {
		t[c] = true
	}
	return t
}()

// Known reports whether name is a header of the family, in any case of letters.
func Known(name string) bool { return rowOf(name) != nil }

// rowOf finds the row of a header; nil: it is not of the family.
func rowOf(name string) *row {
	if len(name) < 3 || name[0]|0x20 != 'x' || name[1] != '-' || !thirdLetters[name[2]|0x20] {
		return nil
	}
	for i := range family {
		if family[i].matches(name) {
			return &family[i]
		}
	}
	return nil
}

// Strip removes the whole family from a response header, also under keys that are not canonical.
func Strip(h http.Header) {
	for name := range h {
		if Known(name) {
			delete(h, name)
		}
	}
}

// StripRequest removes from a request's header what a client must not send to an application: every name that begins
// with X-Sendfile, X-LIGHTTPD-, X-Accel- or X-Reproxy-. A "_" counts as "-", since both become "_" in a meta-variable
// (RFC 3875 section 4.1.18).
func StripRequest(h http.Header) {
	for name := range h {
		plain := name
		if strings.IndexByte(name, '_') >= 0 {
			plain = strings.ReplaceAll(name, "_", "-")
		}
		for _, p := range requestPrefixes {
			if hasPrefixFold(plain, p) {
				delete(h, name)
				break
			}
		}
	}
}

func (r *row) matches(name string) bool {
	if r.prefix {
		return hasPrefixFold(name, r.name)
	}
	return strings.EqualFold(name, r.name)
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
