package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"
)

const (
	bigSize  = 4 << 20
	bigPiece = bigSize / 64
)

// bigByte is what the big file has at an offset.
func bigByte(i int) byte { return byte(i ^ i>>8 ^ i>>16) }

func bigText() []byte {
	b := make([]byte, bigSize)
	for i := range b {
		b[i] = bigByte(i)
	}
	return b
}

// download reads the big file slowly, through a small buffer, and compares.
func download(at place, over time.Duration) error {
	d := net.Dialer{Timeout: requestWait, Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 32<<10) })
	}}
	c, err := d.Dial("tcp", at.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(over + requestWait))
	fmt.Fprintf(c, "GET /files/big HTTP/1.1\r\nHost: any.test\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	if res.StatusCode != 200 || res.ContentLength != bigSize {
		return fmt.Errorf("%s, length %d", res.Status, res.ContentLength)
	}
	got, want := make([]byte, bigPiece), bigText()
	for n := 0; n < bigSize; n += bigPiece {
		if _, err := io.ReadFull(res.Body, got); err != nil {
			return fmt.Errorf("after %d bytes: %w", n, err)
		}
		if !bytes.Equal(got, want[n:n+bigPiece]) {
			return fmt.Errorf("other bytes behind %d", n)
		}
		time.Sleep(over / 64)
	}
	return nil
}
