package config

import (
	"errors"
	"fmt"
	"mime"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"strings"
)

// host is the name of a site, exact or "*." and a name, in lower case and
// without a final dot.
var host = text("want a host name", func(_ spot, text string) (string, error) {
	if addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")); err == nil {
		return addr.String(), nil
	}
	name := strings.TrimSuffix(strings.ToLower(text), ".")
	switch {
	case name == "*" || name == "_" || name == "":
		return "", errors.New("want a host name; a site without hosts is the default one")
	case strings.Contains(name, ":"):
		return "", errors.New("want a host name without a port")
	case !hostName.MatchString(strings.TrimPrefix(name, "*.")):
		return "", errors.New(`want a host name such as "example.org" or "*.example.org"`)
	}
	return name, nil
}, same)

// checkURLPath accepts what the path of a request can be after it was cleaned.
func checkURLPath(p string) error {
	switch {
	case !strings.HasPrefix(p, "/"):
		return errors.New(`want a path that begins with "/"`)
	case strings.ContainsAny(p, "?#"):
		return errors.New("want a path without a query")
	case strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return errors.New("want a path without control characters")
	case strings.Contains(p, "//") || path.Clean(p) != strings.TrimSuffix(p, "/") && p != "/":
		return fmt.Errorf("want %q, without empty and dot segments", path.Clean(p))
	}
	return nil
}

// urlPath is the path of a URL.
var urlPath = text(`want a path that begins with "/"`, func(_ spot, text string) (string, error) {
	return text, checkURLPath(text)
}, same)

var endingForm = regexp.MustCompile(`^\*(\.[^*/]+)$`)

// match is one of the forms of a route.
var match = text("want a match", parseMatch, func(m Match) string { return m.Text })

func parseMatch(_ spot, text string) (Match, error) {
	m := Match{Text: text}
	if rest, ok := strings.CutPrefix(text, "="); ok {
		m.Exact = true
		m.Prefix = strings.TrimLeft(rest, " ")
		if strings.Contains(m.Prefix, "*") {
			return m, errors.New(`want an exact path behind "=", without "*"`)
		}
		return m, checkURLPath(m.Prefix)
	}
	m.Prefix = text
	if star := strings.Index(text, "*"); star >= 0 {
		ending := endingForm.FindStringSubmatch(text[star:])
		if ending == nil || star > 0 && text[star-1] != '/' {
			return m, errors.New(`want "*.ext", "/prefix/", "/prefix/*.ext" or "= /exact"; "*" stands only before an ending`)
		}
		m.Prefix, m.Ending = text[:star], ending[1]
		if star == 0 {
			m.Prefix = "/"
		}
		if strings.ContainsAny(m.Ending, "?#") {
			return m, errors.New("want a path without a query")
		}
	}
	if !strings.HasPrefix(m.Prefix, "/") {
		return m, errors.New(`want "*.ext", "/prefix/", "/prefix/*.ext" or "= /exact"`)
	}
	return m, checkURLPath(m.Prefix)
}

// fileName is a name within a folder.
var fileName = text("want a file name", func(_ spot, text string) (string, error) {
	if text == "" || text == "." || text == ".." || strings.ContainsAny(text, "/\x00") {
		return "", errors.New("want a file name without a folder")
	}
	return text, nil
}, same)

// mediaTypes are file name endings and their types.
var mediaTypes = dictionary(func(ending string) (string, error) {
	if len(ending) < 2 || ending[0] != '.' || strings.ContainsAny(ending, "/\x00") {
		return "", errors.New(`want an ending such as ".webp"`)
	}
	return strings.ToLower(ending), nil
}, func(value string) error {
	if name, _, err := mime.ParseMediaType(value); err != nil || !strings.Contains(name, "/") {
		return errors.New(`want a media type such as "image/webp"`)
	}
	return nil
})

// urlPrefix is the beginning of URLs of another server.
var urlPrefix = text("want a URL", func(_ spot, text string) (string, error) {
	const want = `want a URL such as "http://store.internal/"`
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return "", errors.New(want)
	case u.Path == "":
		// "http://store" would also be a prefix of http://store.evil.example/
		return "", errors.New(want + `, with a "/" behind the host`)
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", errors.New(want + ", without user, query and fragment")
	}
	return text, nil
}, same)

var nameForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$`)

// name is an app's: it stands in logs, commands and file names.
var name = text("want a name", func(_ spot, text string) (string, error) {
	if !nameForm.MatchString(text) {
		return "", errors.New(`want a name of 1 to 64 letters, digits, "_", "-" or "."`)
	}
	return text, nil
}, same)

// reference is the name of an app elsewhere.
var reference = name
