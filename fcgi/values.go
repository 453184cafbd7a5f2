package fcgi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"
)

// Names that an application may be asked for (FastCGI 1.0 section 4.1). What
// it says is advice: libfcgi answers MaxConns = 1 whatever the program does.
const (
	MaxConns  = "FCGI_MAX_CONNS"  // connections at once
	MaxReqs   = "FCGI_MAX_REQS"   // requests at once
	MpxsConns = "FCGI_MPXS_CONNS" // "1": several requests share a connection
)

// AskValues asks an application for values by one GET_VALUES record, and waits
// at most timeout for all of the answer. A name that the application does not
// know is not in the result, and what was not asked for is left out.
//
// An error is a connection that failed or ended, a deadline, or an answer that
// is not one GET_VALUES_RESULT. The caller closes the connection: applications
// that do not know the record may do anything with what follows.
func AskValues(nc net.Conn, names []string, timeout time.Duration) (map[string]string, error) {
	nc.SetDeadline(time.Now().Add(timeout))
	if _, err := nc.Write(appendGetValues(nil, names)); err != nil {
		return nil, fmt.Errorf("fcgi: send GET_VALUES: %w", err)
	}
	content, err := readResult(nc)
	if err != nil {
		return nil, fmt.Errorf("fcgi: answer to GET_VALUES: %w", err)
	}
	values := make(map[string]string, len(names))
	for len(content) > 0 {
		var name, value []byte
		if name, value, content, err = nextPair(content); err != nil {
			return nil, fmt.Errorf("fcgi: answer to GET_VALUES: %w", err)
		}
		if slices.Contains(names, string(name)) {
			values[string(name)] = string(value)
		}
	}
	return values, nil
}

// appendGetValues appends the question, which is for no request: its id is 0.
func appendGetValues(b []byte, names []string) []byte {
	var pairs []byte
	for _, n := range names {
		pairs = appendPair(pairs, n, "")
	}
	at := len(b)
	b = appendRecord(b, typeGetValues, pairs)
	binary.BigEndian.PutUint16(b[at+2:], managementID)
	return b
}

// readResult reads one GET_VALUES_RESULT, at most 64 KiB by its format.
func readResult(r io.Reader) ([]byte, error) {
	var h [headerLen]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return nil, err
	}
	id := binary.BigEndian.Uint16(h[2:])
	switch t := recordType(h[1]); {
	case h[0] != version:
		return nil, fmt.Errorf("record of version %d", h[0])
	case t != typeGetValuesResult || id != managementID:
		return nil, fmt.Errorf("a record %v of request %d", t, id)
	}
	content := make([]byte, int(binary.BigEndian.Uint16(h[4:]))+int(h[6]))
	if _, err := io.ReadFull(r, content); err != nil {
		return nil, err
	}
	return content[:len(content)-int(h[6])], nil
}

var errPair = errors.New("a name-value pair longer than its record")

// nextPair takes the first name-value pair (FastCGI 1.0 section 3.4).
func nextPair(b []byte) (name, value, rest []byte, err error) {
	n, b, ok := nextLength(b)
	if !ok {
		return nil, nil, nil, errPair
	}
	v, b, ok := nextLength(b)
	if !ok || n > len(b) || v > len(b)-n {
		return nil, nil, nil, errPair
	}
	return b[:n], b[n : n+v], b[n+v:], nil
}

// nextLength takes a length: a byte below 128, else four with the top bit set.
func nextLength(b []byte) (n int, rest []byte, ok bool) {
	switch {
	case len(b) == 0:
		return 0, nil, false
	case b[0] < 128:
		return int(b[0]), b[1:], true
	case len(b) < 4:
		return 0, nil, false
	}
	return int(binary.BigEndian.Uint32(b) &^ (1 << 31)), b[4:], true
}
