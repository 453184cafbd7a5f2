package sendfile

import (
	"strconv"
	"strings"
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
		if _, err := strconv.ParseInt(strings.TrimPrefix(v, "@"), 10, 64); err == nil {
			s.Expires = v
		}
	case "X-Accel-Charset":
		s.Charset = v
	}
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
