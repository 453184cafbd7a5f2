package sendfile

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

var (
	errSlice  = errors.New(`not "path first-last" or "path first-"`)
	errSlices = fmt.Errorf("more than %d slices", MaxSlices)
)

// MaxSlices is the greatest number of slices in an X-Sendfile2: all their files are open at a time.
const MaxSlices = 1000

// slices reads the value of X-Sendfile2: "path first-last[, path first-]". A comma or a blank in a path is
// percent-encoded.
func (s *Sender) slices(value string) (list []Slice, err error) {
	if strings.Count(value, ",") >= MaxSlices {
		return nil, errSlices
	}
	for i, spec := range strings.Split(value, ",") {
		spec = strings.Trim(spec, " \t")
		at := strings.LastIndexAny(spec, " \t")
		if at < 0 {
			return nil, fmt.Errorf("slice %d: %w", i+1, errSlice)
		}
		var sl Slice
		if sl.Path, err = target(strings.TrimRight(spec[:at], " \t"), s.decode); err == nil {
			sl.First, sl.End, err = bounds(spec[at+1:])
		}
		if err != nil {
			return nil, fmt.Errorf("slice %d: %w", i+1, err)
		}
		list = append(list, sl)
	}
	return list, nil
}

// bounds reads "first-last", both counted from 0 and inclusive, or "first-".
func bounds(s string) (first, end int64, err error) {
	a, b, ok := strings.Cut(s, "-")
	if !ok {
		return 0, 0, errSlice
	}
	f, err := strconv.ParseUint(a, 10, 63)
	if err != nil {
		return 0, 0, errSlice
	}
	if b == "" {
		return int64(f), -1, nil
	}
	last, err := strconv.ParseUint(b, 10, 62)
	if err != nil || last < f {
		return 0, 0, errSlice
	}
	return int64(f), int64(last) + 1, nil
}
