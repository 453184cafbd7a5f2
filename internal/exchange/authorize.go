package exchange

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"sluice/cgi"
	"sluice/spawner"
)

// Authorize asks an authorizer about a request, whose body it does not touch
// (FastCGI 1.0 section 6.3). An answer with status 200 allows the request, and
// nothing has been sent. Any other is the client's, and has been sent, or is a
// local redirect. Whatever goes wrong is an error, as of Serve: a request is
// never allowed by a child that did not end its answer in order.
func (a *App) Authorize(w http.ResponseWriter, req *Request) (Answer, error) {
	req.begin()
	req.asks = true
	if err := req.mapParams(); err != nil {
		return Answer{}, err
	}
	ctx, cancel := a.bounded(req)
	defer cancel()
	return a.attempts(ctx, w, req, nothing)
}

// withoutBody keeps from an authorizer what FastCGI 1.0 section 6.3 does: there
// is no body, and no script has been chosen.
func withoutBody(set func(name, value string)) func(name, value string) {
	return func(name, value string) {
		switch name {
		case "CONTENT_LENGTH", "PATH_INFO", "PATH_TRANSLATED", "SCRIPT_NAME":
		default:
			set(name, value)
		}
	}
}

// allowed reads the answer of an authorizer that allows the request to its end,
// which has to come before the limit, and takes the variables from its header.
func (x *run) allowed(h *cgi.Header, rest []byte, limit time.Time) (Answer, error) {
	n, err := x.toEnd(int64(len(rest)), limit)
	if err != nil {
		return Answer{}, x.fail(x.headerError(err))
	}
	end, _ := x.conv.Ended(0)
	switch {
	case n < h.ContentLength:
		err = fmt.Errorf("%d bytes short of its Content-Length", h.ContentLength-n)
	case !end.OK():
		err = fmt.Errorf("it allowed the request and ended with %v", end)
	}
	if err != nil {
		return Answer{}, x.fail(&Error{Kind: Died, Err: err})
	}
	x.conv.Settle(spawner.Answered, cgi.Complete)
	return Answer{Allowed: true, Variables: variables(h.Fields)}, nil
}

// toEnd discards a body, of which n bytes have been read, and returns its
// length.
func (x *run) toEnd(n int64, limit time.Time) (int64, error) {
	bp := relayBuffers.Get().(*[]byte)
	defer relayBuffers.Put(bp)
	for n <= maxAllowed {
		if err := x.arm(limit); err != nil {
			return n, err
		}
		k, err := x.conv.Read(*bp)
		n += int64(k)
		switch {
		case err == nil:
		case err == io.EOF:
			return n, nil
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return n, err
		default:
			if e := x.interrupted(); e != nil {
				return n, e
			}
			if !time.Now().Before(limit) {
				return n, &Error{Kind: HeaderTimeout, Err: fmt.Errorf("its answer did not end within %v", x.HeaderTimeout)}
			}
		}
	}
	return n, &Error{Kind: BadHeader, Err: fmt.Errorf("it allowed the request and said more than %d bytes", maxAllowed)}
}

// maxAllowed bounds the body, which nobody wants, of an answer that allows.
const maxAllowed = 64 << 10

// variablePrefix begins the fields that are for the environment of the request.
const variablePrefix = "Variable-"

// variables are those that an authorizer may set, in capitals; of a repeated one
// the first counts.
func variables(fields http.Header) map[string]string {
	vars := map[string]string{}
	for key, values := range fields {
		name, ok := strings.CutPrefix(key, variablePrefix)
		if name = strings.ToUpper(name); ok && settable(name) {
			vars[name] = values[0]
		}
	}
	return vars
}

// stripVariables keeps the fields of an authorizer from the client.
func stripVariables(fields http.Header) {
	for key := range fields {
		if strings.HasPrefix(key, variablePrefix) {
			delete(fields, key)
		}
	}
}

// reserved are the variables that an authorizer cannot set; a name that ends in
// "_" stands for all that begin with it.
var reserved = []struct{ name, why string }{
	{"HTTP_", "what the client's header says; HTTP_PROXY would lead client libraries astray (CVE-2016-5385)"},
	{"BASH_", "BASH_ENV: a shell reads it before its script"},
	{"CONTENT_", "CONTENT_LENGTH, CONTENT_TYPE: of the body as it is"},
	{"DOCUMENT_", "DOCUMENT_ROOT, DOCUMENT_URI: the route's"},
	{"FCGI_", "FCGI_ROLE and what a filter is told"},
	{"GATEWAY_", "GATEWAY_INTERFACE"},
	{"HTTPS", "how the client came"},
	{"ENV", "a shell reads it before its script"},
	{"IFS", "how a shell splits words"},
	{"LD_", "steers the loader of every script"},
	{"NODE_", "NODE_OPTIONS: what is run before the script"},
	{"PATH", "where scripts look for programs"},
	{"PATH_", "PATH_INFO, PATH_TRANSLATED: the route's"},
	{"PERL5LIB", "where Perl finds its modules"},
	{"PERL5OPT", "what Perl runs before the script"},
	{"PHP_", "PHP_VALUE, PHP_ADMIN_VALUE: PHP takes them for its settings"},
	{"PYTHONHOME", "where Python finds its modules"},
	{"PYTHONPATH", "where Python finds its modules"},
	{"PYTHONSTARTUP", "what Python runs first"},
	{"QUERY_", "QUERY_STRING"},
	{"REDIRECT_", "REDIRECT_STATUS"},
	{"REMOTE_ADDR", "who the client is"},
	{"REMOTE_HOST", "who the client is"},
	{"REMOTE_IDENT", "who the client is"},
	{"REMOTE_PORT", "who the client is"},
	{"REQUEST_", "REQUEST_METHOD, REQUEST_URI, REQUEST_SCHEME"},
	{"RUBYLIB", "where Ruby finds its modules"},
	{"RUBYOPT", "what Ruby runs before the script"},
	{"SCRIPT_", "SCRIPT_NAME, SCRIPT_FILENAME: which program runs"},
	{"SERVER_", "what this server is"},
}

// settable reports whether an authorizer may set the variable: a name of
// letters, digits and "_" that is not reserved. REMOTE_USER and AUTH_TYPE, for
// which authorizers are made, are not.
func settable(name string) bool {
	if name == "" || name[0] >= '0' && name[0] <= '9' {
		return false
	}
	for _, c := range []byte(name) {
		if c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	for _, r := range reserved {
		if name == r.name || strings.HasSuffix(r.name, "_") && strings.HasPrefix(name, r.name) {
			return false
		}
	}
	return true
}
