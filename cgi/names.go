package cgi

import (
	"net/http"
	"strings"
)

// metaNames are what Each sets beside the header fields.
var metaNames = func() map[string]bool {
	m := map[string]bool{}
	for _, n := range []string{"GATEWAY_INTERFACE", "SERVER_SOFTWARE", "SERVER_PROTOCOL", "REQUEST_METHOD", "QUERY_STRING",
		"REDIRECT_STATUS", "SCRIPT_NAME", "DOCUMENT_URI", "REQUEST_URI", "SCRIPT_FILENAME", "DOCUMENT_ROOT", "PATH_INFO",
		"PATH_TRANSLATED", "REQUEST_SCHEME", "HTTPS", "SERVER_ADDR", "SERVER_NAME", "SERVER_PORT", "REMOTE_ADDR", "REMOTE_HOST",
		"REMOTE_PORT", "CONTENT_LENGTH", "CONTENT_TYPE"} {
		m[n] = true
	}
	return m
}()

// Sets reports whether Each may set the variable of its own accord, for some
// request, with neither Env nor AppEnv. It is for who gets variables from
// somebody who is not trusted: no name that steers a loader, an interpreter or a
// client library is among them.
func (m *Meta) Sets(name string) bool {
	field, ok := strings.CutPrefix(name, "HTTP_")
	if !ok {
		return metaNames[name]
	}
	field = http.CanonicalHeaderKey(strings.ReplaceAll(field, "_", "-"))
	return buildVariable(field) == name && m.passes(field)
}
