package fcgi_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	stdfcgi "net/http/fcgi"
	"net/http/httptest"
	"os"
	"strings"

	"sluice/cgi"
	"sluice/fcgi"
)

// A request is sent to an application, and the connection is kept for another.
func ExampleBegin() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	go stdfcgi.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s: %s", r.Method, r.URL.Path, body)
	}))

	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, body := range []string{"one", "two"} {
		r := httptest.NewRequest("POST", "/app", nil)
		meta := &cgi.Meta{Request: r, BodyLength: int64(len(body))}
		ex, err := fcgi.Begin(nc, &fcgi.Request{
			Role:     fcgi.Responder,
			KeepConn: true,
			Params:   meta.Each,
			Stdin:    strings.NewReader(body),
			Stderr:   os.Stderr,
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		h, rest, _, err := cgi.ReadHeader(ex, nil, 64<<10)
		if err != nil {
			fmt.Println(err)
			return
		}
		more, err := io.ReadAll(ex)
		fmt.Println(h.Code(), string(rest)+string(more), err)
		if nc = ex.Keep(); nc == nil {
			fmt.Println("closed")
			return
		}
	}
	nc.Close()
	// Output:
	// 200 POST /app: one <nil>
	// 200 POST /app: two <nil>
}

// What an application that refuses, and one that dies, look like.
func ExampleExchange_Read() {
	for _, says := range []string{
		"\x01\x03\x00\x01\x00\x08\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00", // END_REQUEST: OVERLOADED
		"\x01\x06\x00\x01\x00\x04\x00\x00half",                             // STDOUT, and no more
	} {
		ours, theirs := net.Pipe()
		go func() {
			io.ReadFull(theirs, make([]byte, 32)) // BEGIN_REQUEST, and two empty streams
			io.WriteString(theirs, says)
			theirs.Close()
		}()
		ex, err := fcgi.Begin(ours, &fcgi.Request{Role: fcgi.Responder})
		if err != nil {
			fmt.Println(err)
			return
		}
		_, err = io.ReadAll(ex)
		var refusal *fcgi.StatusError
		switch {
		case errors.As(err, &refusal):
			fmt.Println("refused:", refusal.Refused(), err)
		case errors.Is(err, cgi.ErrDied):
			fmt.Println("died:", err)
		}
		ex.Close(cgi.Stop)
	}
	// Output:
	// refused: true fcgi: END_REQUEST: OVERLOADED
	// died: fcgi: child died before the end of its answer: connection closed
}
