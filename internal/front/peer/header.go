package peer

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"

	"github.com/pires/go-proxyproto"
)

// MaxHeader is the longest PROXY header that is taken, in bytes. One of version 1
// has at most 107; version 2 could have 64 KiB of additions, of which the longest
// in use is a client's certificate.
const MaxHeader = v2Fixed + 4096

const (
	maxV1    = 107
	v2Fixed  = 16 // signature, version and command, family, length
	v2Proxy  = 0x21
	v2Unspec = 0x00
)

// The nginx stream module sends IPv4 addresses under TCP6 where its two sides
// are of different families.
func init() { proxyproto.V1AcceptIPv4InTCP6 = true }

// Header is what a PROXY header says.
type Header struct {
	// Source and Destination are the ends of the client's own connection. They
	// are nil where the header names none (LOCAL, UNKNOWN): then the ends of the
	// connection that it came on are meant.
	Source, Destination net.Addr
}

// ErrNoHeader says that a connection does not begin with a PROXY header.
var ErrNoHeader = errors.New("no PROXY header")

// Read reads a PROXY header, of version 1 or 2, at the beginning of b, by
// haproxy's proxy-protocol.txt, and returns its length. A length of 0 without an
// error asks for more bytes; whatever follows the header is left alone. At most
// MaxHeader bytes are asked for.
func Read(b []byte) (h Header, length int, err error) {
	length, err = headerLength(b)
	if length == 0 || err != nil {
		return Header{}, 0, err
	}
	if length > MaxHeader {
		return Header{}, 0, fmt.Errorf("PROXY header of %d bytes: more than %d", length, MaxHeader)
	}
	if length > len(b) {
		return Header{}, 0, nil
	}
	if b[0] == proxyproto.SIGV2[0] && b[12] == v2Proxy && b[13] == v2Unspec {
		return Header{}, length, nil // as LOCAL (section 2.2); the library refuses it
	}
	p, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(b[:length]), 128))
	if err != nil {
		return Header{}, 0, fmt.Errorf("PROXY header: %w", err)
	}
	if p.Command.IsLocal() || p.TransportProtocol.IsUnspec() {
		return Header{}, length, nil
	}
	return Header{stream(p.SourceAddr), stream(p.DestinationAddr)}, length, nil
}

// headerLength is the length of the header, as far as it can be known: 0 is not
// yet.
func headerLength(b []byte) (int, error) {
	switch {
	case len(b) == 0:
		return 0, nil
	case begins(b, proxyproto.SIGV2):
		if len(b) < v2Fixed {
			return 0, nil
		}
		return v2Fixed + int(binary.BigEndian.Uint16(b[14:])), nil
	case begins(b, proxyproto.SIGV1):
		if i := bytes.IndexByte(b[:min(len(b), maxV1)], '\n'); i >= 0 {
			return i + 1, nil
		}
		if len(b) >= maxV1 {
			return 0, fmt.Errorf("PROXY header: no end of line in %d bytes", maxV1)
		}
		return 0, nil
	}
	return 0, ErrNoHeader
}

// begins reports whether b is, as far as it goes, the beginning of something
// with the signature.
func begins(b, signature []byte) bool {
	n := min(len(b), len(signature))
	return bytes.Equal(b[:n], signature[:n])
}

// stream is an address as one of a stream socket. A datagram's family is as good:
// the bytes that follow are a stream's in any case.
func stream(a net.Addr) net.Addr {
	switch a := a.(type) {
	case *net.UDPAddr:
		return stream(&net.TCPAddr{IP: a.IP, Port: a.Port})
	case *net.TCPAddr:
		if v4 := a.IP.To4(); v4 != nil {
			a.IP = v4
		}
		return a
	case *net.UnixAddr:
		return &net.UnixAddr{Net: "unix", Name: a.Name}
	}
	return a
}
