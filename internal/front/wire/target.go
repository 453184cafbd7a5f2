package wire

import (
	"net/url"
	"strings"
)

// setURL takes the target in the form that it has (RFC 9112 section 3.2). The
// usual path needs nothing of package url, which is the rule for all others.
func (h *Head) setURL(method, target string) *Error {
	switch {
	case method == "CONNECT":
		return h.setAuthority(target)
	case target == "*":
		if method != "OPTIONS" {
			return errTargetForm
		}
		h.url.Path = "*"
		return nil
	case target[0] != '/':
		return h.setAbsolute(target)
	}
	path, query := target, ""
	i := strings.IndexByte(target, '?')
	if i >= 0 {
		path, query = target[:i], target[i+1:]
	}
	if !all(path, inPath) {
		return h.parseURL(target)
	}
	h.url.Path, h.url.RawQuery, h.url.ForceQuery = path, query, i >= 0 && query == ""
	return nil
}

func (h *Head) parseURL(s string) *Error {
	u, err := url.ParseRequestURI(s)
	if err != nil {
		return errTargetForm
	}
	h.url = *u
	return nil
}

// setAbsolute takes a whole URI. One without a host is none of http, and user
// information in it serves to deceive (RFC 9110 sections 4.2.1, 4.2.4).
func (h *Head) setAbsolute(target string) *Error {
	if err := h.parseURL(target); err != nil {
		return err
	}
	if h.url.Host == "" || h.url.User != nil {
		return errTargetForm
	}
	return nil
}

// setAuthority takes HOST:PORT.
func (h *Head) setAuthority(target string) *Error {
	if err := h.parseURL("http://" + target); err != nil {
		return err
	}
	if h.url.Host != target || h.url.Hostname() == "" || h.url.Port() == "" {
		return errTargetForm
	}
	h.url.Scheme = ""
	return nil
}
