package cgi_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sluice/cgi"
)

func TestSendInterim(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, err := cgi.ParseHeader([]byte("Status: 103 Early\nLink: </a>\n\n"))
		if err != nil {
			t.Error(err)
			return
		}
		h.SendInterim(w, r)
		io.WriteString(w, "body")
	}))
	defer s.Close()
	for proto, want := range map[string]string{"HTTP/1.1": "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK", "HTTP/1.0": "HTTP/1.0 200 OK"} {
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, "GET / "+proto+"\r\nHost: x\r\nConnection: close\r\n\r\n")
		got, _ := io.ReadAll(bufio.NewReader(c))
		if text := string(got); !strings.HasPrefix(text, want) || strings.Count(text, "Link") != strings.Count(want, "Link") {
			t.Errorf("%s: %q", proto, text)
		}
	}
}
