package sendfile

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"
)

var errNoURL = errors.New("names no URL that may be fetched")

// urls reads the value of X-Reproxy-URL: URLs with blanks between them, in the order in which they are to be tried.
// Those that may not be fetched are left out; where none is left, nothing can answer: 503.
func (s *Sender) urls(value string) (list []string, err error) {
	fields := strings.Fields(value)
	if len(fields) == 0 {
		return nil, errEmpty
	}
	for _, v := range fields {
		u, err := url.Parse(v)
		if err != nil {
			return nil, err
		}
		if s.mayFetch(u) {
			list = append(list, u.String())
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%w (%s)", errNoURL, strings.Join(s.reproxy, ", "))
	}
	return list, nil
}

// mayFetch reports whether a URL begins with one of those in Options.Reproxy.
func (s *Sender) mayFetch(u *url.URL) bool {
	for _, p := range s.reproxy {
		allowed, err := url.Parse(p)
		if err != nil || !strings.EqualFold(u.Scheme, allowed.Scheme) || !strings.EqualFold(u.Host, allowed.Host) || u.User != nil {
			continue
		}
		if _, ok := below(path.Clean("/"+allowed.Path), clean("/"+u.Path)); ok {
			return true
		}
	}
	return false
}
