package gofastbridge

import (
	"errors"
	"net"
	"net/http"
	"strings"

	"github.com/yookoala/gofast"

	"sluice/cgi"
)

// Params makes a chain of middlewares a mapping of meta-variables for a server
// that has an engine of its own: the chain is given the variables that meta
// makes, in the map it expects, and set gets what it left there, repaired as by
// Transport.Repair. Only the variables travel: the input, the role and the
// answer are the server's. A middleware that fails, or does not call the next
// one, is an error, and then set has not been called.
//
// Without a chain nothing is mapped: meta.Each feeds set itself.
func Params(chain ...gofast.Middleware) func(meta *cgi.Meta, set func(name, value string)) error {
	if len(chain) == 0 {
		return func(meta *cgi.Meta, set func(name, value string)) error {
			meta.Each(set)
			return nil
		}
	}
	wrap := gofast.Chain(chain...)
	return func(meta *cgi.Meta, set func(name, value string)) error {
		var mapped map[string]string
		session := wrap(func(_ gofast.Client, req *gofast.Request) (*gofast.ResponsePipe, error) {
			if err := checkPath(req); err != nil {
				return nil, err
			}
			repair(req.Params, meta)
			mapped = req.Params
			return finished, nil
		})
		req := gofast.NewRequest(meta.Request)
		meta.Each(func(name, value string) { req.Params[name] = value })
		if _, err := session(nobody, req); err != nil {
			return err
		}
		if mapped == nil {
			return errors.New("gofastbridge: the chain did not call its end")
		}
		for name, value := range mapped {
			set(name, value)
		}
		return nil
	}
}

// nobody is the client of a session that only maps.
var nobody = gofast.ClientFunc(func(*gofast.Request) (*gofast.ResponsePipe, error) {
	return nil, errors.New("gofastbridge: there is no client behind this chain, only a mapping")
})

// Repair is a gofast.Middleware, the last before the client. It puts right what
// gofast's own middlewares get wrong: it replaces the values that those would
// have set, and leaves those alone that a middleware chose itself. It also
// gives an input of unknown length a CONTENT_LENGTH, and refuses a path that
// goes above the root, which FileSystemRouter would follow.
func (t *Transport) Repair(inner gofast.SessionHandler) gofast.SessionHandler {
	return func(client gofast.Client, req *gofast.Request) (*gofast.ResponsePipe, error) {
		if err := checkPath(req); err != nil {
			return nil, err
		}
		meta := t.meta(req.Raw)
		if req.Role == gofast.RoleAuthorizer {
			req.Stdin = nil // FastCGI 1.0 section 6.3
		} else {
			var err error
			if meta.BodyLength, meta.HasBody, err = t.measure(req); err != nil {
				return nil, err
			}
		}
		repair(req.Params, meta)
		if req.Role == gofast.RoleAuthorizer {
			for _, name := range []string{"CONTENT_LENGTH", "PATH_INFO", "PATH_TRANSLATED", "SCRIPT_NAME"} {
				delete(req.Params, name)
			}
		}
		return inner(client, req)
	}
}

// checkPath refuses paths that gofast's FileSystemRouter maps wrongly: it takes
// the file /root-secret/x for one below /root, and runs /foo.php for
// /foo.phpbar.
func checkPath(req *gofast.Request) error {
	if aboveRoot(req.Raw.URL.Path) {
		return &Error{Status: http.StatusBadRequest, Err: errors.New("the path goes above the root")}
	}
	if info := req.Params["PATH_INFO"]; info != "" && info[0] != '/' {
		return &Error{Status: http.StatusNotFound, Err: errors.New("the path goes on within a segment")}
	}
	return nil
}

// aboveRoot reports whether a path leaves the root on its way.
func aboveRoot(p string) bool {
	depth := 0
	for seg := range strings.SplitSeq(p, "/") {
		switch seg {
		case "", ".":
		case "..":
			if depth--; depth < 0 {
				return true
			}
		default:
			depth++
		}
	}
	return false
}

// stock is what gofast's BasicParamsMap sets, for the variables where that is
// wrong: it knows neither the connection nor the scheme. A variable that has
// this value, or none, gets ours.
var stock = map[string]func(r *http.Request) string{
	"CONTENT_TYPE":    func(*http.Request) string { return "" },
	"REDIRECT_STATUS": func(*http.Request) string { return "200" },
	"REMOTE_ADDR":     func(r *http.Request) string { h, _, _ := net.SplitHostPort(r.RemoteAddr); return h },
	"REMOTE_HOST":     func(*http.Request) string { return "" },
	"REMOTE_PORT":     func(*http.Request) string { return "" },
	"REQUEST_SCHEME":  func(r *http.Request) string { return r.URL.Scheme },
	"SERVER_ADDR":     func(*http.Request) string { return "" },
	"SERVER_NAME":     func(r *http.Request) string { h, _ := stockHost(r); return h },
	"SERVER_PORT":     func(r *http.Request) string { _, p := stockHost(r); return p },
	"SERVER_SOFTWARE": func(*http.Request) string { return "gofast" },
}

func stockHost(r *http.Request) (host, port string) {
	host, port, err := net.SplitHostPort(r.Host)
	switch {
	case err == nil:
		return host, port
	case r.TLS != nil:
		return r.Host, "443"
	}
	return r.Host, "80"
}

// emptyIsUnset are the variables that gofast sets to "" for "none".
var emptyIsUnset = []string{"CONTENT_TYPE", "HTTPS", "PATH_INFO", "REMOTE_PORT"}

// repair repairs the map.
func repair(p map[string]string, m *cgi.Meta) {
	derived := dropFields(p, m.Request)
	// This one is true or unset, whatever a middleware thinks of it.
	delete(p, "CONTENT_LENGTH")
	delete(p, "HTTP_PROXY")
	m.Each(func(name, value string) {
		if ours(p, m, derived, name) {
			p[name] = value
		}
	})
	for _, name := range emptyIsUnset {
		if p[name] == "" {
			delete(p, name)
		}
	}
	if _, ok := p["PATH_INFO"]; !ok {
		delete(p, "PATH_TRANSLATED") // RFC 3875 section 4.1.6
	}
}

// ours reports whether the variable gets the value that cgi.Meta gives it.
func ours(p map[string]string, m *cgi.Meta, derived map[string]bool, name string) bool {
	if _, ok := m.Env[name]; ok {
		return true
	}
	if _, ok := m.AppEnv[name]; ok {
		return true
	}
	if name == "CONTENT_LENGTH" || derived[name] {
		return true
	}
	wrong, ok := stock[name]
	if !ok {
		return false
	}
	have := p[name]
	return have == "" || have == wrong(m.Request)
}

// dropFields removes the variables that are the client's header fields, as
// MapHeader makes them, and returns their names: cgi.Meta, which knows which
// fields may pass, gives back those that do. Names with "_" and "." so lose
// their power to pose as another.
func dropFields(p map[string]string, r *http.Request) map[string]bool {
	derived := make(map[string]bool, len(r.Header))
	for k, v := range r.Header {
		name := "HTTP_" + strings.ReplaceAll(strings.ToUpper(k), "-", "_")
		if have, ok := p[name]; ok && (have == strings.Join(v, ",") || have == strings.Join(v, ", ") || have == strings.Join(v, "; ")) {
			derived[name] = true
		}
	}
	for name := range derived {
		delete(p, name)
	}
	return derived
}
