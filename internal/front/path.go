package front

import (
	"iter"
	"strings"
)

// cleaned is a request's path made fit for matching: decoded once, dot segments
// and doubled slashes removed, a trailing slash kept.
//
// ok is false for a path that goes above the root, does not begin with a slash,
// or has a NUL: no file can be meant, and no part of sluice shall have to think
// about it.
func cleaned(p string) (_ string, ok bool) {
	if p == "" || p[0] != '/' || strings.IndexByte(p, 0) >= 0 {
		return "", false
	}
	if !strings.Contains(p, "//") && !strings.Contains(p, "/.") {
		return p, true
	}
	var out []string
	segs := strings.Split(p[1:], "/")
	for i, s := range segs {
		last := i == len(segs)-1
		switch s {
		case "", ".":
			if last {
				out = append(out, "")
			}
		case "..":
			if len(out) == 0 {
				return "", false
			}
			out = out[:len(out)-1]
			if last {
				out = append(out, "")
			}
		default:
			out = append(out, s)
		}
	}
	return "/" + strings.Join(out, "/"), true
}

// heads yields the beginnings of a path that end with a segment, shortest first,
// each with what comes behind it.
func heads(p string) iter.Seq2[string, string] {
	return func(yield func(head, tail string) bool) {
		for end := 0; end < len(p); {
			next := strings.IndexByte(p[end+1:], '/')
			if next < 0 {
				end = len(p)
			} else {
				end += 1 + next
			}
			if !yield(p[:end], p[end:]) {
				return
			}
		}
	}
}

// hasEncodedSlash looks for %2F in the path as the client sent it.
func hasEncodedSlash(raw string) bool {
	for i := 0; i+2 < len(raw); i++ {
		if raw[i] == '%' && raw[i+1] == '2' && raw[i+2]|0x20 == 'f' {
			return true
		}
	}
	return false
}

// keepSlashes decodes a raw path but leaves encoded slashes as they are.
func keepSlashes(raw string, unescape func(string) (string, error)) (string, error) {
	var b strings.Builder
	for {
		i := strings.Index(strings.ToLower(raw), "%2f")
		if i < 0 {
			break
		}
		head, err := unescape(raw[:i])
		if err != nil {
			return "", err
		}
		b.WriteString(head)
		b.WriteString("%2F")
		raw = raw[i+3:]
	}
	tail, err := unescape(raw)
	b.WriteString(tail)
	return b.String(), err
}

// Hidden reports whether a segment of the path begins with a dot, .well-known
// aside (RFC 8615).
func Hidden(p string) bool {
	for i := strings.Index(p, "/."); i >= 0; {
		seg, _, _ := strings.Cut(p[i+1:], "/")
		if seg != ".well-known" {
			return true
		}
		next := strings.Index(p[i+1:], "/.")
		if next < 0 {
			return false
		}
		i += 1 + next
	}
	return false
}

// looksLike reports whether a file name would be taken for one with the ending
// by a careless eye: in other case, or with dots and blanks behind it.
func looksLike(name, ending string) bool {
	name = strings.ToLower(strings.TrimRight(name, ". \t"))
	return strings.HasSuffix(name, ending)
}
