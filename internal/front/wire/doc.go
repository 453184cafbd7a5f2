// Package wire turns bytes into HTTP/1.1 requests and answers into bytes.
//
// It does no I/O of its own and allocates next to nothing: the head of a request
// costs one string, of which all strings of the http.Request are parts. It is
// strict as RFC 9112 wants a server to be; what it refuses although net/http
// does not is listed in the tests, which have net/http as their oracle:
//
//   - a folded line, a bare CR, a NUL, blanks before the colon of a field
//   - a Content-Length that is repeated or a list, or has more than 18 digits,
//     or stands beside a Transfer-Encoding; a Transfer-Encoding in HTTP/1.0
//   - a request of HTTP/1.1 without Host, a bad byte in a Host, a port in it that
//     is no number
//   - a target in none of the four forms, or in one that the method does not
//     have: * is for OPTIONS, HOST:PORT for CONNECT and nothing else for it; an
//     absolute one without a host, or with user information
//   - a version that is not HTTP/1
//   - a target of more than MaxTarget bytes, more than MaxFields fields
//   - an expectation other than 100-continue
//   - in a chunked body: blanks behind a size, a size of more than 15 digits, an
//     extension of more than 1 KiB or with control bytes, a trailer that is no
//     field or ends in a bare LF
//
// Only in one thing it is less strict than http.ReadRequest, as net/http's server
// is: two empty lines may stand before a request.
//
// A bare LF ends a line of a head (RFC 9112 section 2.2 allows it), but never
// one of a chunked body.
package wire
