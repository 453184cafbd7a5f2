package sendfile

import (
	"net/http"
	"strconv"
	"strings"
)

// MaxRanges is the greatest number of ranges that a request may ask for; beyond it the whole file is sent.
const MaxRanges = 100

// usableRange returns r, or a copy of it whose Range header http.ServeContent understands as RFC 9110 section 14 wants
// it. Left alone, ServeContent answers an unknown unit with 416, knows the unit in lower case only, serves ranges of any
// method, and says "bytes 0--1/0" to a suffix of an empty file and "bytes 9-8/9" to a suffix of no bytes. A number that does not fit an
// int64 is an error to it.
func usableRange(r *http.Request, acceptRanges string, size int64) *http.Request {
	value := r.Header.Get("Range")
	if value == "" {
		return r
	}
	unit, set, ok := strings.Cut(value, "=")
	usable := ok && size > 0 && strings.EqualFold(unit, "bytes") &&
		(r.Method == http.MethodGet || r.Method == http.MethodHead) &&
		!strings.EqualFold(strings.TrimSpace(acceptRanges), "none") &&
		strings.Count(set, ",") < MaxRanges
	better := ""
	if usable {
		if better = "bytes=" + withoutEmptySuffixes(withoutGiants(set), size); better == value {
			return r
		}
	}
	changed := r.WithContext(r.Context())
	changed.Header = r.Header.Clone()
	if usable {
		changed.Header.Set("Range", better)
	} else {
		changed.Header.Del("Range")
		changed.Header.Del("If-Range")
	}
	return changed
}

// maxDigits is how many decimal digits surely fit an int64; no file is as long as that.
const maxDigits = 18

// withoutGiants puts a number that fits, and is still beyond the end of every file, in the place of one that does not. The
// end of such a range is the file's (RFC 9110 section 14.1.2), and some clients say 18446744073709551615 for it.
func withoutGiants(set string) string {
	var b strings.Builder
	done := 0
	for i := 0; i < len(set); i++ {
		if set[i] < '0' || set[i] > '9' {
			continue
		}
		first := i
		for i < len(set) && set[i] >= '0' && set[i] <= '9' {
			i++
		}
		if len(strings.TrimLeft(set[first:i], "0")) > maxDigits {
			b.WriteString(set[done:first])
			b.WriteString(strings.Repeat("9", maxDigits))
			done = i
		}
	}
	if done == 0 {
		return set
	}
	b.WriteString(set[done:])
	return b.String()
}

// withoutEmptySuffixes puts a range that begins at the end of the file, which is as unsatisfiable, in the place of "-0".
func withoutEmptySuffixes(set string, size int64) string {
	if !strings.Contains(set, "0") {
		return set
	}
	specs := strings.Split(set, ",")
	changed := false
	for i, spec := range specs {
		first, length, ok := strings.Cut(spec, "-")
		length = strings.Trim(length, " \t")
		if ok && strings.Trim(first, " \t") == "" && length != "" && strings.Trim(length, "0") == "" {
			specs[i], changed = strconv.FormatInt(size, 10)+"-", true
		}
	}
	if !changed {
		return set
	}
	return strings.Join(specs, ",")
}
