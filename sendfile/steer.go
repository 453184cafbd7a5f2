package sendfile

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Steer is how the child wants whatever is sent to be sent: the headers of nginx that stand beside others.
type Steer struct {
	Rate      int64  // X-Accel-Limit-Rate: bytes a second to the client, 0 is no limit; -1: the child did not say
	Buffering Switch // X-Accel-Buffering: whether the body is spooled
	Expires   string // X-Accel-Expires: seconds from now, or @ and seconds since 1970, checked; "": the child did not say
	Charset   string // X-Accel-Charset: of the types that are text; "": the child did not say
}

// Switch is yes, no, or neither.
type Switch uint8

// The positions.
const (
	Unsaid Switch = iota
	Yes
	No
)

// steerless is what a child says that does not steer.
var steerless = Steer{Rate: -1}

// take notes the value of one of the headers. As in nginx the first of several counts, and a value that is none is as
// if it were not there.
func (s *Steer) take(name string, values []string) {
	if len(values) == 0 {
		return
	}
	v := strings.Trim(values[0], " \t")
	switch name {
	case "X-Accel-Limit-Rate":
		if n, err := strconv.ParseInt(v, 10, 64); err == nil && n >= 0 {
			s.Rate = n
		}
	case "X-Accel-Buffering":
		switch strings.ToLower(v) {
		case "yes":
			s.Buffering = Yes
		case "no":
			s.Buffering = No
		}
	case "X-Accel-Expires":
		if n, err := strconv.ParseInt(strings.TrimPrefix(v, "@"), 10, 64); err == nil && n >= 0 {
			s.Expires = v
		}
	case "X-Accel-Charset":
		if isToken(v) {
			s.Charset = v
		}
	}
}

// Over is what s says, and where it says nothing what below does.
func (s Steer) Over(below Steer) Steer {
	if s.Rate < 0 {
		s.Rate = below.Rate
	}
	if s.Buffering == Unsaid {
		s.Buffering = below.Buffering
	}
	if s.Expires == "" {
		s.Expires = below.Expires
	}
	if s.Charset == "" {
		s.Charset = below.Charset
	}
	return s
}

// unkept are the fields with which an answer is not for X-Accel-Expires to make cacheable: those that say how long it
// may be kept themselves, and the one with which nginx caches nothing.
var unkept = [...]string{"Cache-Control", "Expires", "Set-Cookie"}

// Expire says in a header how long the answer may be kept, as of now. X-Accel-Expires is for the server's own cache,
// beats what is for others, and is itself for nobody else; there is no such cache here. But an answer that says nothing
// to others, and may be given to everybody by a server's cache, may by any other: it gets Cache-Control and Expires.
func (s Steer) Expire(h http.Header, now time.Time) {
	if s.Expires == "" {
		return
	}
	for _, name := range unkept {
		if first(h[name]) != "" {
			return
		}
	}
	seconds, _ := strconv.ParseInt(strings.TrimPrefix(s.Expires, "@"), 10, 64)
	if s.Expires[0] == '@' {
		seconds -= now.Unix()
	}
	if seconds <= 0 {
		h["Cache-Control"], h["Expires"] = []string{"no-cache"}, []string{time.Unix(1, 0).UTC().Format(http.TimeFormat)}
		return
	}
	seconds = min(seconds, longest)
	h["Cache-Control"] = []string{"max-age=" + strconv.FormatInt(seconds, 10)}
	h["Expires"] = []string{now.Add(time.Duration(seconds) * time.Second).UTC().Format(http.TimeFormat)}
}

// longest is the most that a cache has to understand (RFC 9111 section 1.2.2).
const longest = 1 << 31

// Recode puts the charset into a header's Content-Type, if that is of text.
func (s Steer) Recode(h http.Header) {
	if s.Charset == "" {
		return
	}
	media, params, err := mime.ParseMediaType(first(h["Content-Type"]))
	if err != nil || !isText(media) {
		return
	}
	params["charset"] = s.Charset
	h["Content-Type"] = []string{mime.FormatMediaType(media, params)}
}

// texts are the types that have a charset, but for text/ and those of XML.
var texts = []string{"application/javascript", "application/xml", "application/xml-dtd"}

func isText(media string) bool {
	if strings.HasPrefix(media, "text/") || strings.HasSuffix(media, "+xml") {
		return true
	}
	for _, t := range texts {
		if media == t {
			return true
		}
	}
	return false
}

// isToken reports whether v is a token (RFC 9110 section 5.6.2).
func isToken(v string) bool {
	for i := range len(v) {
		c := v[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return v != ""
}

// parseSize reads X-Reproxy-Expected-Size.
func parseSize(values []string) int64 {
	if len(values) == 1 {
		if n, err := strconv.ParseInt(strings.Trim(values[0], " \t"), 10, 64); err == nil && n >= 0 {
			return n
		}
	}
	return -1
}
