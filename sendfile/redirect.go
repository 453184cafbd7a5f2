package sendfile

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// survivors are the fields of a child's header that stay when X-Accel-Redirect has another URI answer in its place: nginx's.
// Everything else describes a body that nobody gets.
var survivors = []struct{ name, text string }{
	{"Content-Type", "a file's type is the child's, unless it says none; another application's own beats it"},
	{"Content-Disposition", "the name under which the client stores what it gets"},
	{"Set-Cookie", "each; another application's own are added"},
	{"Cache-Control", "how long it may be kept"},
	{"Expires", "the same, of old"},
	{"Accept-Ranges", "none turns ranges of a file off"},
}

// Kept returns those fields of h that stay when another URI answers. The values are shared with h.
func Kept(h http.Header) http.Header {
	k := http.Header{}
	for _, f := range survivors {
		if v := h[http.CanonicalHeaderKey(f.name)]; len(v) > 0 && v[0] != "" {
			k[http.CanonicalHeaderKey(f.name)] = v
		}
	}
	return k
}

var errDots = errors.New(`has a ".." segment`)

// Target reads the value of X-Accel-Redirect: a path of the site, percent-decoded once, and behind the first "?" a query,
// which stays as it is. An encoded slash is a slash.
//
// The error is an *Error with Status 404, as for a URI that reaches nothing: for an empty or a relative path, another
// server's URL, a NUL, and a ".." segment, encoded or not.
func Target(uri string) (*url.URL, error) {
	refuse := func(err error) (*url.URL, error) {
		return nil, &Error{Op: "redirect", Path: uri, Status: http.StatusNotFound, Rule: "not a path of the site", Err: err}
	}
	raw, query, _ := strings.Cut(uri, "?")
	switch p, err := url.PathUnescape(raw); {
	case err != nil:
		return refuse(err)
	case p == "":
		return refuse(errEmpty)
	case p[0] != '/':
		return refuse(errRelative)
	case strings.IndexByte(p, 0) >= 0:
		return refuse(errNUL)
	case strings.Contains(p+"/", "/../"):
		return refuse(errDots)
	default:
		return &url.URL{Path: p, RawQuery: query}, nil
	}
}
