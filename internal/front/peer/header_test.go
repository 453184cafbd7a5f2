package peer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/pires/go-proxyproto"
)

const sigV2 = "\r\n\r\n\x00\r\nQUIT\n"

// v2 is a header of version 2 with a body.
func v2(command, family byte, body string) string {
	b := append([]byte(sigV2), command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	return string(b) + body
}

const (
	body4 = "\xc0\x00\x02\x01" + "\xc6\x33\x64\x02" + "\x10\x00" + "\x01\xbb"
	net6  = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	body6 = net6 + "\x01" + net6 + "\x02" + "\x10\x00" + "\x01\xbb"
)

func unixBody(src, dst string) string {
	return src + strings.Repeat("\x00", 108-len(src)) + dst + strings.Repeat("\x00", 108-len(dst))
}

func TestRead(t *testing.T) {
	const none = "<nil> to <nil>"
	const both4, both6 = "192.0.2.1:4096 to 198.51.100.2:443", "[2001:db8::1]:4096 to [2001:db8::2]:443"
	for _, c := range []struct{ name, header, want string }{
		{"v1", "PROXY TCP4 192.0.2.1 198.51.100.2 4096 443\r\n", both4},
		{"v1 of IPv6", "PROXY TCP6 2001:db8::1 2001:db8::2 4096 443\r\n", both6},
		{"v1 of IPv4 in IPv6", "PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.2 4096 443\r\n", both4},
		{"v1 of nginx, mixed", "PROXY TCP6 192.0.2.1 2001:db8::2 4096 443\r\n", "192.0.2.1:4096 to [2001:db8::2]:443"},
		{"v1 unknown", "PROXY UNKNOWN\r\n", none},
		{"v1 unknown with addresses", "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", none},
		{"v1 unknown with anything", "PROXY UNKNOWN \x01 TCP4\r\n", none},
		{"v2", v2(0x21, 0x11, body4), both4},
		{"v2 of IPv6", v2(0x21, 0x21, body6), both6},
		{"v2 with additions", v2(0x21, 0x11, body4+"\x04\x00\x03abc"), both4},
		{"v2 with bad additions", v2(0x21, 0x11, body4+"\x04\xff"), both4},
		{"v2 of a datagram", v2(0x21, 0x12, body4), both4},
		{"v2 of a unix socket", v2(0x21, 0x31, unixBody("/client", "/server")), "/client to /server"},
		{"v2 of a unix socket without names", v2(0x21, 0x31, unixBody("", "")), " to "},
		{"v2 local", v2(0x20, 0x00, ""), none},
		{"v2 local with addresses", v2(0x20, 0x11, body4), none},
		{"v2 local with something else", v2(0x20, 0x11, "abc"), none},
		{"v2 unspecified", v2(0x21, 0x00, ""), none},
		{"v2 unspecified with something", v2(0x21, 0x00, "abcdef"), none},
		{"v2 as long as may be", v2(0x21, 0x11, body4+strings.Repeat("x", MaxHeader-v2Fixed-len(body4))), both4},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, behind := range []string{"", "GET / HTTP/1.1\r\n", "\r\n", "PROXY UNKNOWN\r\n"} {
				h, n, err := Read([]byte(c.header + behind))
				if err != nil || n != len(c.header) {
					t.Fatalf("%d of %d bytes, %v", n, len(c.header), err)
				}
				if got := shown(h.Source) + " to " + shown(h.Destination); got != c.want {
					t.Errorf("%s, want %s", got, c.want)
				}
			}
			for n := range len(c.header) {
				if h, k, err := Read([]byte(c.header[:n])); err != nil || k != 0 || h != (Header{}) {
					t.Fatalf("%d bytes of it: %d, %+v, %v", n, k, h, err)
				}
			}
		})
	}
}

func shown(a net.Addr) string {
	if a == nil {
		return "<nil>"
	}
	return a.String()
}

func TestReadFaults(t *testing.T) {
	for _, c := range []struct{ name, header string }{
		{"a request", "GET / HTTP/1.1\r\n\r\n"},
		{"a request that begins alike", "PROPFIND / HTTP/1.1\r\n\r\n"},
		{"empty lines before a request", "\r\n\r\nGET / HTTP/1.1\r\n\r\n"},
		{"TLS", "\x16\x03\x01\x02\x00\x01"},
		{"a small letter", "proxy TCP4 192.0.2.1 198.51.100.2 4096 443\r\n"},
		{"v1 without CR", "PROXY TCP4 192.0.2.1 198.51.100.2 4096 443\n"},
		{"v1 without end", "PROXY UNKNOWN" + strings.Repeat(" ", 200)},
		{"v1 of 108 bytes", "PROXY UNKNOWN" + strings.Repeat(" ", 93) + "\r\n"},
		{"v1 with another word", "PROXYX TCP4 192.0.2.1 198.51.100.2 4096 443\r\n"},
		{"v1 of another family", "PROXY UDP4 192.0.2.1 198.51.100.2 4096 443\r\n"},
		{"v1 with too few", "PROXY TCP4 192.0.2.1 198.51.100.2 4096\r\n"},
		{"v1 with too many", "PROXY TCP4 192.0.2.1 198.51.100.2 4096 443 1\r\n"},
		{"v1 with two blanks", "PROXY TCP4  192.0.2.1 198.51.100.2 4096 443\r\n"},
		{"v1 with a bad address", "PROXY TCP4 192.0.2.256 198.51.100.2 4096 443\r\n"},
		{"v1 with a name", "PROXY TCP4 localhost 198.51.100.2 4096 443\r\n"},
		{"v1 with IPv6 as IPv4", "PROXY TCP4 2001:db8::1 2001:db8::2 4096 443\r\n"},
		{"v1 with a bad port", "PROXY TCP4 192.0.2.1 198.51.100.2 4096 65536\r\n"},
		{"v1 with a signed port", "PROXY TCP4 192.0.2.1 198.51.100.2 +4096 443\r\n"},
		{"v2 of another version", v2(0x11, 0x11, body4)},
		{"v2 of another command", v2(0x22, 0x11, body4)},
		{"v2 of another family", v2(0x21, 0x41, body4)},
		{"v2 of another protocol", v2(0x21, 0x13, body4)},
		{"v2 that is too short", v2(0x21, 0x11, body4[:11])},
		{"v2 of IPv6 that is too short", v2(0x21, 0x21, body4)},
		{"v2 of a unix socket that is too short", v2(0x21, 0x31, body6)},
		{"v2 that is too long", v2(0x21, 0x11, body4+strings.Repeat("x", MaxHeader))},
		{"v2 local that is too long", v2(0x20, 0x11, strings.Repeat("x", MaxHeader))},
	} {
		t.Run(c.name, func(t *testing.T) {
			if h, n, err := Read([]byte(c.header)); err == nil || n != 0 || h != (Header{}) {
				t.Errorf("%+v of %d bytes", h, n)
			}
		})
	}
	if _, _, err := Read([]byte("G")); !errors.Is(err, ErrNoHeader) {
		t.Error(err)
	}
}

// FuzzRead: a header is found with the same result however much follows it, and
// not before it is whole; and one that the library reads from a stream is read
// alike.
func FuzzRead(f *testing.F) {
	for _, s := range []string{"PROXY TCP4 192.0.2.1 198.51.100.2 4096 443\r\n", "PROXY UNKNOWN\r\n", "PROXY TCP6 ::1 ::2 1 2\r\nGET /",
		v2(0x21, 0x11, body4), v2(0x21, 0x21, body6+"\x04\x00\x01x"), v2(0x20, 0, ""), v2(0x21, 0x31, unixBody("/a", "/b")), "GET / HTTP/1.1\r\n\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := Read(b)
		if n > len(b) || n > MaxHeader || err != nil && n != 0 || (h.Source == nil) != (h.Destination == nil) {
			t.Fatalf("%+v, %d of %d bytes, %v", h, n, len(b), err)
		}
		if n == 0 {
			if err == nil && len(b) >= MaxHeader {
				t.Fatalf("asks for more than %d bytes", len(b))
			}
			return
		}
		if _, k, err := Read(b[:n-1]); k != 0 || err != nil {
			t.Fatalf("is whole without its last byte: %d, %v", k, err)
		}
		h2, k, err := Read(append(bytes.Clone(b[:n]), "more"...))
		if err != nil || k != n || shown(h2.Source) != shown(h.Source) || shown(h2.Destination) != shown(h.Destination) {
			t.Fatalf("%+v of %d bytes, then %+v of %d, %v", h, n, h2, k, err)
		}
		if h.Source == nil {
			return
		}
		again := proxyproto.HeaderProxyFromAddrs(2, h.Source, h.Destination)
		text, err := again.Format()
		if err != nil {
			t.Fatal(err)
		}
		if h3, _, err := Read(text); err != nil || shown(h3.Source) != shown(h.Source) {
			t.Fatalf("%v after it has been written again: %v", h3.Source, err)
		}
	})
}
