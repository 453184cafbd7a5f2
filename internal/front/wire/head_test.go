package wire

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

// headCases are heads and what becomes of them: 0 for those that are accepted,
// and then net/http has the same request; -1 for those that are not complete.
var headCases = []struct {
	name, raw string
	status    int
}{
	{"a browser's", browserHead, 0},
	{"smallest", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 0},
	{"with a body", "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12345", 0},
	{"pipelined", "GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n", 0},

	// RFC 9112 section 2.2: lines
	{"bare LF", "GET /a HTTP/1.1\nHost: x\nA: b\n\n", 0},
	{"bare LF at the end", "GET /a HTTP/1.1\r\nHost: x\r\n\n", 0},
	{"an empty line before", "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", 0},
	{"an empty line of LF before", "\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", 0},
	{"two empty lines before", "\r\n\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", 0},
	{"three empty lines before", "\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	{"bare CR before", "\rGET / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	{"bare CR in the method", "GE\rT / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	{"bare CR in the target", "GET /a\rb HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	{"bare CR behind the version", "GET / HTTP/1.1\r\r\nHost: x\r\n\r\n", 400},
	{"bare CR in a name", "GET / HTTP/1.1\r\nHost: x\r\nX\r-A: a\r\n\r\n", 400},
	{"bare CR in a value", "GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n", 400},
	{"bare CR at the end of a value", "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\r\n\r\n", 400},
	{"bare CR in a line that has not ended", "GET / HTTP/1.1\r\nHost: x\r\nA: b\rc", 400},
	{"bare CR as a line", "GET / HTTP/1.1\r\nHost: x\r\n\r\r\n", 400},
	{"blank before the request line", " GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	{"folded line", "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", 400},
	{"folded by a tab", "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n\tc\r\n\r\n", 400},
	{"folded into nothing", "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n \r\n\r\n", 400},
	{"folded request line", "GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400},

	// Section 3: the request line
	{"two blanks", "GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	{"two blanks before the version", "GET /  HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	{"tab for a blank", "GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	{"blank in the target", "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	{"blank behind the version", "GET / HTTP/1.1 \r\nHost: x\r\n\r\n", 400},
	{"nothing but a method", "GET\r\n\r\n", 400},
	{"no method", " / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	{"method of one's own", "PRopfind! / HTTP/1.1\r\nHost: x\r\n\r\n", 0},
	{"method that is no token", "GE(T / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	{"NUL in the target", "GET /a\x00 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	{"NUL behind a blank", "GET /a.txt \x00.php HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	{"DEL in the target", "GET /a\x7f HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	{"tab in the target", "GET /a\tb HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	{"HTTP/0.9", "GET /\r\n", 400},
	{"HTTP/0.9 with its version", "GET / HTTP/0.9\r\n\r\n", 505},
	{"HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", 0},
	{"HTTP/1.2", "POST / HTTP/1.2\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", 0},
	{"HTTP/1.9 without a Host", "GET / HTTP/1.9\r\n\r\n", 400},
	{"HTTP/2.0", "GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505},
	{"HTTP/3.0, and nothing more yet", "GET / HTTP/3.0\r\n", 505},
	{"preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
	{"HTTP/2", "GET / HTTP/2\r\nHost: x\r\n\r\n", 400},
	{"version with two digits", "GET / HTTP/1.10\r\nHost: x\r\n\r\n", 400},
	{"version in lower case", "GET / http/1.1\r\nHost: x\r\n\r\n", 400},
	{"version without a dot", "GET / HTTP/111\r\nHost: x\r\n\r\n", 400},
	{"version of letters", "GET / HTTP/x.y\r\nHost: x\r\n\r\n", 400},
	{"hello of TLS", "\x16\x03\x01\x02\x00\x01", 400},
	{"hello of SSH", "SSH-2.0-OpenSSH_9.2\r\n", 400},

	// Section 3.2: the target
	{"query", "GET /a/b?c=d&e HTTP/1.1\r\nHost: x\r\n\r\n", 0},
	{"empty query", "GET /a? HTTP/1.1\r\nHost: x\r\n\r\n", 0},
	{"query of a question mark", "GET /a?? HTTP/1.1\r\nHost: x\r\n\r\n", 0},
	{"query with anything", "GET /?%zz#\"<>\xff?/ HTTP/1.1\r\nHost: x\r\n\r\n", 0},
	{"escapes", "GET /a%20b/%2f%41 HTTP/1.1\r\nHost: x\r\n\r\n", 0},
	{"escaped NUL", "GET /a%00 HTTP/1.1\r\nHost: x\r\n\r\n", 0},
	{"bad escape", "GET /a%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	{"cut escape", "GET /a%2 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	{"bytes that url would escape", "GET /a!(b)*'c'[d]|\"<>^` HTTP/1.1\r\nHost: x\r\n\r\n", 0},
	{"bytes above ASCII", "GET /\xc3\xa9\xff HTTP/1.1\r\nHost: x\r\n\r\n", 0},
	{"hash", "GET /a#b?c HTTP/1.1\r\nHost: x\r\n\r\n", 0},
	{"colon in the first segment", "GET /a:b@c;d=e,f$g&h+i HTTP/1.1\r\nHost: x\r\n\r\n", 0},
	{"two slashes", "GET //a//b HTTP/1.1\r\nHost: x\r\n\r\n", 0},
	{"three slashes", "GET ///a HTTP/1.1\r\nHost: x\r\n\r\n", 0},
	{"dot segments", "GET /../a/./b HTTP/1.1\r\nHost: x\r\n\r\n", 0},
	{"no slash", "GET a HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	{"query only", "GET ?a HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	{"absolute", "GET http://y/a?b HTTP/1.1\r\nHost: x\r\n\r\n", 0},
	{"absolute with port", "GET HTTP://y:8080/a HTTP/1.1\r\nHost: x\r\n\r\n", 0},
	{"absolute with an IPv6 address", "GET http://[::1]:80/a HTTP/1.1\r\nHost: x\r\n\r\n", 0},
	{"absolute without path", "GET http://y HTTP/1.1\r\nHost: x\r\n\r\n", 0},
	{"absolute with query and without path", "GET http://y?a HTTP/1.1\r\nHost: x\r\n\r\n", 0},
	{"absolute in HTTP/1.0", "GET http://y/ HTTP/1.0\r\n\r\n", 0},
	{"absolute without Host", "GET http://y/ HTTP/1.1\r\n\r\n", 400},
	{"absolute without host", "GET http:///a HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	{"absolute with a bad host", "GET http://y<z/ HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	{"absolute with an escaped host", "GET http://%c3%a9/ HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	{"absolute with user information", "GET http://u:p@y/ HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	{"opaque", "GET mailto:x HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	{"asterisk", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 0},
	{"asterisk of another method", "GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	{"asterisk and more", "OPTIONS */a HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	{"authority", "CONNECT y:443 HTTP/1.1\r\nHost: x\r\n\r\n", 0},
	{"authority with an IPv6 address", "CONNECT [::1]:443 HTTP/1.1\r\nHost: x\r\n\r\n", 0},
	{"authority without port", "CONNECT y HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	{"authority without host", "CONNECT :443 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	{"authority and path", "CONNECT y:443/a HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	{"CONNECT to a path", "CONNECT /a HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	{"CONNECT to a URI", "CONNECT http://y/ HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	{"CONNECT to nothing", "CONNECT  HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	{"CONNECT to everything", "CONNECT * HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	{"authority of another method", "GET y:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	{"longest target", "GET /" + strings.Repeat("a", MaxTarget-1) + " HTTP/1.1\r\nHost: x\r\n\r\n", 0},
	{"target too long", "GET /" + strings.Repeat("a", MaxTarget) + " HTTP/1.1\r\nHost: x\r\n\r\n", 414},
	{"target too long, without its end", "GET /" + strings.Repeat("a", MaxTarget), 414},
	{"method too long", strings.Repeat("A", MaxTarget+1), 414},

	// Section 5: fields
	{"names in any case", "GET / HTTP/1.1\r\nhOST: x\r\nx-fOO-bar-: 1\r\n-a: 2\r\n\r\n", 0},
	{"name of every token byte", "GET / HTTP/1.1\r\nHost: x\r\n!#$%&'*+-.^_`|~09azAZ: 1\r\n\r\n", 0},
	{"blanks around values", "GET / HTTP/1.1\r\nHost: \t x \t\r\nA:b\r\nB: \t \r\nC:\r\nD: e \t f\r\n\r\n", 0},
	{"repeated fields", "GET / HTTP/1.1\r\nHost: x\r\nCookie: a=b\r\nA: c\r\ncookie: d=e\r\nCOOKIE: f\r\n\r\n", 0},
	{"bytes above ASCII in a value", "GET / HTTP/1.1\r\nHost: x\r\nA: \x80\xff\xc3\xa9\r\n\r\n", 0},
	{"colons in a value", "GET / HTTP/1.1\r\nHost: x\r\nA: :b:c\r\n\r\n", 0},
	{"blank before the colon", "GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n", 400},
	{"tab before the colon", "GET / HTTP/1.1\r\nHost: x\r\nA\t: b\r\n\r\n", 400},
	{"blank in a name", "GET / HTTP/1.1\r\nHost: x\r\nA B: c\r\n\r\n", 400},
	{"blank and another byte in a name", "GET / HTTP/1.1\r\nHost: x\r\nA B(: c\r\n\r\n", 400},
	{"empty name", "GET / HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n", 400},
	{"name that is no token", "GET / HTTP/1.1\r\nHost: x\r\nA(b): c\r\n\r\n", 400},
	{"name above ASCII", "GET / HTTP/1.1\r\nHost: x\r\n\xc3\xa9: c\r\n\r\n", 400},
	{"no colon", "GET / HTTP/1.1\r\nHost: x\r\nAbc\r\n\r\n", 400},
	{"NUL in a name", "GET / HTTP/1.1\r\nHost: x\r\nA\x00: b\r\n\r\n", 400},
	{"NUL in a value", "GET / HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n", 400},
	{"NUL at the end of a long value", "GET / HTTP/1.1\r\nHost: x\r\nA: 0123456789abcdef\x00\r\n\r\n", 400},
	{"NUL in a line that has not ended", "GET / HTTP/1.1\r\nHost: x\r\nA: b\x00", 400},
	{"escape in a value", "GET / HTTP/1.1\r\nHost: x\r\nA: \x1b[2J\r\n\r\n", 400},
	{"DEL in a value", "GET / HTTP/1.1\r\nHost: x\r\nA: 01234567\x7f\r\n\r\n", 400},
	{"tab in a value", "GET / HTTP/1.1\r\nHost: x\r\nA: 0123\t4567\r\n\r\n", 0},
	{"most fields", "GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("A: b\r\n", MaxFields-1) + "\r\n", 0},
	{"too many fields", "GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("A: b\r\n", MaxFields) + "\r\n", 431},
	{"longest head", "GET / HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("a", testLimit-32) + "\r\n\r\n", 0},
	{"head too long", "GET / HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("a", testLimit-31) + "\r\n\r\n", 431},
	{"head too long, without its end", "GET / HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("a", testLimit-28), 431},
	{"Pragma without Cache-Control", "GET / HTTP/1.1\r\nHost: x\r\nPragma: no-cache\r\n\r\n", 0},
	{"Pragma beside Cache-Control", "GET / HTTP/1.1\r\nPragma: no-cache\r\nHost: x\r\nCache-Control: no-store\r\n\r\n", 0},

	// Section 3.2: Host
	{"no Host", "GET / HTTP/1.1\r\n\r\n", 400},
	{"no Host, of CONNECT", "CONNECT y:443 HTTP/1.1\r\n\r\n", 400},
	{"no Host in HTTP/1.0", "GET / HTTP/1.0\r\nA: b\r\n\r\n", 0},
	{"empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 0},
	{"two Hosts", "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400},
	{"two Hosts, equal", "GET / HTTP/1.1\r\nHost: x\r\nhost: x\r\n\r\n", 400},
	{"two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\nHost: x\r\nHost: x\r\n\r\n", 400},
	{"two Hosts and an absolute target", "GET http://y/ HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400},
	{"Host with a port", "GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", 0},
	{"Host with an empty port", "GET / HTTP/1.1\r\nHost: x:\r\n\r\n", 0},
	{"Host with an IPv6 address", "GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n", 0},
	{"Host with an IPv6 address without brackets", "GET / HTTP/1.1\r\nHost: fe80::1\r\n\r\n", 0},
	{"Host with a port that is no number", "GET / HTTP/1.1\r\nHost: x:80x\r\n\r\n", 400},
	{"Host with two ports", "GET / HTTP/1.1\r\nHost: x:80:81\r\n\r\n", 400},
	{"Host with a bad port behind an IPv6 address", "GET / HTTP/1.1\r\nHost: [::1]:-1\r\n\r\n", 400},
	{"Host with a blank", "GET / HTTP/1.1\r\nHost: x y\r\n\r\n", 400},
	{"Host with a slash", "GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", 400},
	{"Host with an at", "GET / HTTP/1.1\r\nHost: x@y\r\n\r\n", 400},
	{"Host above ASCII", "GET / HTTP/1.1\r\nHost: \xc3\xa9\r\n\r\n", 400},
	{"bad Host beside an absolute target", "GET http://y/ HTTP/1.1\r\nHost: x/y\r\n\r\n", 400},

	// Section 6: framing
	{"length of 0", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 0},
	{"length with zeros", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 00005\r\n\r\n", 0},
	{"length of 18 digits", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999999999\r\n\r\n", 0},
	{"length of 19 digits", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000000000\r\n\r\n", 400},
	{"length beyond 64 bits", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551621\r\n\r\n", 400},
	{"empty length", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\n", 400},
	{"length with a plus", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\n", 400},
	{"length with a minus", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", 400},
	{"length in hex", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x5\r\n\r\n", 400},
	{"length with a fraction", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5.0\r\n\r\n", 400},
	{"length with a blank", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5 0\r\n\r\n", 400},
	{"list of lengths", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\n", 400},
	{"two lengths", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400},
	{"two lengths, equal", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\n", 400},
	{"chunked", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", 0},
	{"chunked in capitals", "POST / HTTP/1.1\r\nHost: x\r\ntransfer-encoding: CHUNKED\r\n\r\n", 0},
	{"chunked in HTTP/1.0", "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
	{"another coding in HTTP/1.0", "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 400},
	{"length announced as a trailer in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nTrailer: content-length\r\n\r\n", 400},
	{"bad coding in HTTP/1.0", "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", 400},
	{"length and chunked", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
	{"chunked and length", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400},
	{"length and another coding", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: gzip\r\n\r\n", 400},
	{"another coding", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501},
	{"identity", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n", 501},
	{"coding with a parameter", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip;q=1\r\n\r\n", 501},
	{"two codings", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501},
	{"two codings in two fields", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n", 501},
	{"coding that begins like chunked", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunkedx\r\n\r\n", 501},
	{"chunked not last", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", 400},
	{"chunked twice", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", 400},
	{"chunked in two fields", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
	{"chunked and an empty element", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked,\r\n\r\n", 400},
	{"an empty element and chunked", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: ,chunked\r\n\r\n", 400},
	{"chunked with a parameter", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked;a=b\r\n\r\n", 400},
	{"quoted coding", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \"chunked\"\r\n\r\n", 400},
	{"empty coding", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n\r\n", 400},
	{"blank before the colon of a coding", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n", 400},
	{"vertical tab before a coding", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \x0bchunked\r\n\r\n", 400},
	{"trailer announced", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: A, b\r\n\r\n", 0},
	{"trailer announced first", "POST / HTTP/1.1\r\nTrailer: A\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: B\r\n\r\n", 0},
	{"trailer announced and not chunked", "POST / HTTP/1.1\r\nHost: x\r\nTrailer: A\r\n\r\n", 0},
	{"length announced as a trailer", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: A, content-length\r\n\r\n", 400},

	{"expectation", "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n", 0},
	{"empty expectation", "POST / HTTP/1.1\r\nHost: x\r\nExpect:\r\nContent-Length: 5\r\n\r\n", 0},
	{"unknown expectation", "POST / HTTP/1.1\r\nHost: x\r\nExpect: 200-ok\r\nContent-Length: 5\r\n\r\n", 417},
	{"one known expectation and one not", "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue, a=b\r\nContent-Length: 5\r\n\r\n", 417},

	{"nothing", "", -1},
	{"a part of the method", "GE", -1},
	{"a part of the target", "GET /a", -1},
	{"a part of the version", "GET / HTTP/1.", -1},
	{"a CR behind the version", "GET / HTTP/1.1\r", -1},
	{"the request line", "GET / HTTP/1.1\r\n", -1},
	{"a part of a field", "GET / HTTP/1.1\r\nHos", -1},
	{"a CR behind a field", "GET / HTTP/1.1\r\nHost: x\r", -1},
	{"all but the last LF", "GET / HTTP/1.1\r\nHost: x\r\n\r", -1},
}

const browserHead = "GET /wiki/doku.php?id=start&do=edit HTTP/1.1\r\nHost: www.example.org\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n" +
	"Referer: http://www.example.org/wiki/doku.php?id=wiki:syntax\r\nConnection: keep-alive\r\nCookie: DokuWiki=0123456789abcdef0123456789abcdef; DW68700bfd16c2027de7de74a5a8202a6f=a%7Cb\r\n" +
	"Upgrade-Insecure-Requests: 1\r\nIf-Modified-Since: Wed, 25 Nov 2026 16:00:00 GMT\r\n\r\n"

func TestParseHead(t *testing.T) {
	for _, c := range headCases {
		t.Run(c.name, func(t *testing.T) {
			var h Head
			n, err := ParseHead([]byte(c.raw), &h, testLimit)
			switch {
			case c.status > 0:
				if n != 0 || statusOf(err) != c.status {
					t.Errorf("got %d, %v", n, err)
				}
			case c.status < 0:
				if n != 0 || err != nil || h.seen < len(c.raw)-1 {
					t.Errorf("got %d, %v, and has looked at %d bytes of %d", n, err, h.seen, len(c.raw))
				}
			case n == 0 || err != nil:
				t.Errorf("got %d, %v", n, err)
			}
			againstOracle(t, c.raw)
			var parts Head
			pn, perr := inParts(t, []byte(c.raw), &parts, testLimit)
			if pn != n || statusOf(perr) != statusOf(err) {
				t.Errorf("byte by byte %d, %v", pn, perr)
			}
		})
	}
}

// Where net/http accepts, a case above is one of the documented differences:
// each of these reasons has to come up, or it is none.
func TestStricterThanNetHTTP(t *testing.T) {
	found := map[*Error]bool{}
	for _, c := range headCases {
		var h Head
		_, err := ParseHead([]byte(c.raw), &h, testLimit)
		if _, _, werr := read(c.raw); err != nil && werr == nil {
			found[err.(*Error)] = true
		}
	}
	for _, e := range stricter {
		if !found[e] {
			t.Errorf("no case shows that net/http accepts what has %v", e)
		}
	}
}

func TestKeepAliveAndContinue(t *testing.T) {
	tests := []struct {
		name, head       string
		keepAlive, waits bool
	}{
		{"1.1", "GET / HTTP/1.1\r\nHost: x\r\n", true, false},
		{"1.1, close", "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n", false, false},
		{"1.1, close in a list", "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, CLOSE \r\nUpgrade: y\r\n", false, false},
		{"1.1, close in a second field", "GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\nConnection: close\r\n", false, false},
		{"1.1, a word with close in it", "GET / HTTP/1.1\r\nHost: x\r\nConnection: closed\r\n", true, false},
		{"1.1, upgrade", "GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n", true, false},
		{"1.7", "GET / HTTP/1.7\r\nHost: x\r\n", true, false},
		{"1.0", "GET / HTTP/1.0\r\n", false, false},
		{"1.0, keep-alive", "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n", true, false},
		{"1.0, both", "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n", false, false},
		{"expects", "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n", true, true},
		{"expects, chunked", "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n", true, true},
		{"expects without a body", "GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n", true, false},
		{"expects in 1.0", "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n", false, false},
		{"expects nothing", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n", true, false},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			var h Head
			if _, err := ParseHead([]byte(c.head+"\r\n"), &h, testLimit); err != nil {
				t.Fatal(err)
			}
			if h.KeepAlive != c.keepAlive || h.Continue != c.waits {
				t.Errorf("KeepAlive %v, Continue %v", h.KeepAlive, h.Continue)
			}
		})
	}
}

// What a request leaves behind does not show in the next one, and strings of it
// stay what they were.
func TestHeadIsUsedAgain(t *testing.T) {
	var h Head
	first := []byte("POST /a%20b?c HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\nCookie: a\r\nCookie: b\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
	if _, err := ParseHead(first, &h, testLimit); err != nil {
		t.Fatal(err)
	}
	type key struct{}
	h.SetContext(context.WithValue(t.Context(), key{}, "first"))
	if h.Request.Context().Value(key{}) != "first" {
		t.Error("the context is another")
	}
	h.Request.SetPathValue("name", "first")
	h.Request.Header.Add("Cookie", "c")
	h.Request.Header.Add("X-Added", "first")
	uri, cookie, path := h.Request.RequestURI, h.Request.Header["Cookie"][1], h.Request.URL.Path
	clear(first)

	second := "GET /d HTTP/1.1\r\nHost: y\r\nA: b\r\n\r\n"
	h.Reset()
	if _, err := ParseHead([]byte(second), &h, testLimit); err != nil {
		t.Fatal(err)
	}
	want, _, _ := read(second)
	sameRequest(t, &h.Request, want)
	if h.Request.Context() != context.Background() || h.Request.PathValue("name") != "" || !h.KeepAlive || h.Continue {
		t.Errorf("something is left of the request before: %+v", h.Request)
	}
	if uri != "/a%20b?c" || cookie != "b" || path != "/a b" {
		t.Errorf("strings have changed to %q, %q, %q", uri, cookie, path)
	}
	if got := h.Request.Header["A"]; cap(got) != 1 {
		t.Errorf("a handler that appends to %v, of capacity %d, writes to another field", got, cap(got))
	}
}

// Without a call of Reset the next head is another request all the same; and
// after one, half a head is forgotten.
func TestHeadBeginsAnew(t *testing.T) {
	var h Head
	for i := range 3 {
		raw := fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: x\r\nX-%d: y\r\n\r\n", i, i)
		if n, err := ParseHead([]byte(raw), &h, testLimit); n != len(raw) || err != nil {
			t.Fatal(n, err)
		}
		want := http.Header{fmt.Sprintf("X-%d", i): {"y"}}
		if h.Request.RequestURI != fmt.Sprintf("/%d", i) || !reflect.DeepEqual(h.Request.Header, want) {
			t.Fatalf("got %v", h.Request)
		}
	}
	h.Reset()
	ParseHead([]byte("GET /half HTTP/1.1\r\nA: b\r\nC"), &h, testLimit)
	h.Reset()
	raw := "GET /whole HTTP/1.1\r\nHost: x\r\n\r\n"
	if n, err := ParseHead([]byte(raw), &h, testLimit); n != len(raw) || err != nil || len(h.Request.Header) != 0 {
		t.Fatal(n, err, h.Request.Header)
	}
}

// A head with very many fields leaves no big map behind that is cleared for
// every request from then on.
func TestManyFieldsAreNotKept(t *testing.T) {
	var h Head
	var raw strings.Builder
	raw.WriteString("GET / HTTP/1.1\r\nHost: x\r\n")
	for i := range manyFields {
		fmt.Fprintf(&raw, "X-%d: y\r\n", i)
	}
	raw.WriteString("\r\n")
	if _, err := ParseHead([]byte(raw.String()), &h, testLimit); err != nil || len(h.Request.Header) != manyFields {
		t.Fatal(err, len(h.Request.Header))
	}
	h.Reset()
	if h.header != nil || h.values != nil || h.fields != nil {
		t.Error("they are kept")
	}
}

func TestErrorIsTold(t *testing.T) {
	var h Head
	_, err := ParseHead([]byte("GET / HTTP/1.1\r\n\r\n"), &h, testLimit)
	var e *Error
	if !errors.As(err, &e) || e.Error() != "request: no Host" {
		t.Errorf("got %v", err)
	}
}

// isControlled looks at eight bytes at once: every byte, at every place.
func TestIsControlled(t *testing.T) {
	for i := range 256 {
		for at := range 19 {
			b := []byte(strings.Repeat("a", 19))
			b[at] = byte(i)
			want := i < ' ' && i != '\t' || i == 0x7f
			if isControlled(b) != want {
				t.Fatalf("%q: got %v", b, !want)
			}
			b[(at+1)%len(b)] = 0x80
			if isControlled(b) != want {
				t.Fatalf("%q: got %v", b, !want)
			}
		}
	}
}
