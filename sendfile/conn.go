package sendfile

import (
	"io"
	"net"
	"syscall"
)

// WrapConn returns a connection to which Serve sends files by sendfile(2), for a net.Listener that feeds net/http. c is
// a *net.TCPConn or a *net.UnixConn; anything else, such as TLS, is returned as it is, and gets files through a buffer.
func WrapConn(c net.Conn) net.Conn {
	switch c.(type) {
	case *net.TCPConn, *net.UnixConn:
	default:
		return c
	}
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return c // closed already
	}
	return &conn{Conn: c, raw: raw}
}

type conn struct {
	net.Conn
	raw syscall.RawConn
}

// ReadFrom sends a Content by sendfile and leaves everything else to the inner connection.
func (c *conn) ReadFrom(src io.Reader) (int64, error) {
	if part, n, ok := Part(src); ok {
		moved, err := part.SendTo(c.raw, n, nil)
		if limit, ok := src.(*io.LimitedReader); ok {
			limit.N -= moved
		}
		return moved, err
	}
	return io.Copy(c.Conn, src) // a TCPConn's own ReadFrom still sees a plain *os.File
}

// CloseWrite half-closes. net/http does so before it closes a connection whose request it has not read.
func (c *conn) CloseWrite() error {
	return c.Conn.(interface{ CloseWrite() error }).CloseWrite()
}
