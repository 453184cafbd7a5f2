package sendfile

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
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

// prefix is the beginning of URLs that may be fetched, in parts.
type prefix struct{ scheme, host, path string }

// prefixesOf takes Options.Reproxy apart; what is no URL is the beginning of none.
func prefixesOf(list []string) (all []prefix) {
	for _, p := range list {
		if u, err := url.Parse(p); err == nil {
			all = append(all, prefix{u.Scheme, u.Host, path.Clean("/" + u.Path)})
		}
	}
	return all
}

// mayFetch reports whether a URL begins with one of those in Options.Reproxy.
func (s *Sender) mayFetch(u *url.URL) bool {
	if u.User != nil {
		return false
	}
	to := clean("/" + u.Path)
	return slices.ContainsFunc(s.prefixes, func(p prefix) bool {
		_, in := below(p.path, to)
		return in && strings.EqualFold(u.Scheme, p.scheme) && strings.EqualFold(u.Host, p.host)
	})
}
