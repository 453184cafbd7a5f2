package fcgi

import (
	"encoding/binary"
	"fmt"
)

// Role is the role that an application plays for one request (FastCGI 1.0
// section 6).
type Role uint16

// The roles.
const (
	Responder  Role = 1
	Authorizer Role = 2
	Filter     Role = 3
)

func (r Role) String() string {
	switch r {
	case Responder:
		return "responder"
	case Authorizer:
		return "authorizer"
	case Filter:
		return "filter"
	}
	return fmt.Sprintf("role %d", uint16(r))
}

// recordType is the type of a record (FastCGI 1.0 section 8).
type recordType uint8

const (
	typeBegin           recordType = 1
	typeAbort           recordType = 2
	typeEnd             recordType = 3
	typeParams          recordType = 4
	typeStdin           recordType = 5
	typeStdout          recordType = 6
	typeStderr          recordType = 7
	typeData            recordType = 8
	typeGetValues       recordType = 9
	typeGetValuesResult recordType = 10
	typeUnknown         recordType = 11
)

func (t recordType) String() string {
	names := map[recordType]string{typeBegin: "BEGIN_REQUEST", typeAbort: "ABORT_REQUEST", typeEnd: "END_REQUEST",
		typeParams: "PARAMS", typeStdin: "STDIN", typeStdout: "STDOUT", typeStderr: "STDERR", typeData: "DATA",
		typeGetValues: "GET_VALUES", typeGetValuesResult: "GET_VALUES_RESULT", typeUnknown: "UNKNOWN_TYPE"}
	if n, ok := names[t]; ok {
		return n
	}
	return fmt.Sprintf("type %d", uint8(t))
}

const (
	version   = 1
	headerLen = 8
	// maxContent is the longest content that we send: the longest the format
	// allows (65535) that needs no padding to a multiple of eight.
	maxContent = 65528
	// requestID is the id of every request: a connection carries one at a time.
	requestID = 1
	// managementID is the id of a record that belongs to no request.
	managementID = 0

	flagKeepConn = 1
)

// Protocol statuses of END_REQUEST (FastCGI 1.0 section 5.5).
const (
	statusComplete    = 0
	statusCantMpxConn = 1
	statusOverloaded  = 2
	statusUnknownRole = 3
)

// StatusError is an END_REQUEST whose protocol status says that the
// application did not do the request.
type StatusError struct{ Status uint8 }

func (e *StatusError) Error() string {
	switch e.Status {
	case statusCantMpxConn:
		return "fcgi: END_REQUEST: CANT_MPX_CONN"
	case statusOverloaded:
		return "fcgi: END_REQUEST: OVERLOADED"
	case statusUnknownRole:
		return "fcgi: END_REQUEST: UNKNOWN_ROLE"
	}
	return fmt.Sprintf("fcgi: END_REQUEST: protocol status %d", e.Status)
}

// Refused reports whether the application refused the request without doing
// any of it, so that another may be asked: OVERLOADED or CANT_MPX_CONN.
func (e *StatusError) Refused() bool {
	return e.Status == statusOverloaded || e.Status == statusCantMpxConn
}

// UnknownRole reports whether the application does not play the role.
func (e *StatusError) UnknownRole() bool { return e.Status == statusUnknownRole }

// appendHeader appends a record header; the padding brings the record to a
// multiple of eight bytes (FastCGI 1.0 section 3.3 recommends it).
func appendHeader(b []byte, t recordType, content int) []byte {
	b = append(b, version, byte(t), 0, requestID, 0, 0, byte(-content&7), 0)
	binary.BigEndian.PutUint16(b[len(b)-4:], uint16(content))
	return b
}

func appendPadding(b []byte, content int) []byte {
	var zero [8]byte
	return append(b, zero[:-content&7]...)
}

func appendRecord(b []byte, t recordType, content []byte) []byte {
	b = appendHeader(b, t, len(content))
	b = append(b, content...)
	return appendPadding(b, len(content))
}

func appendBegin(b []byte, role Role, keep bool) []byte {
	var flags byte
	if keep {
		flags = flagKeepConn
	}
	b = appendHeader(b, typeBegin, 8)
	return append(b, byte(role>>8), byte(role), flags, 0, 0, 0, 0, 0)
}

// appendPair appends a name-value pair: each length in one byte below 128,
// else in four with the top bit set (FastCGI 1.0 section 3.4).
func appendPair(b []byte, name, value string) []byte {
	b = appendLength(b, len(name))
	b = appendLength(b, len(value))
	b = append(b, name...)
	return append(b, value...)
}

func appendLength(b []byte, n int) []byte {
	if n < 128 {
		return append(b, byte(n))
	}
	return binary.BigEndian.AppendUint32(b, uint32(n)|1<<31)
}
