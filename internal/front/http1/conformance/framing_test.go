package conformance

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

const (
	get   = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	head  = "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n"
	get10 = "GET / HTTP/1.0\r\n\r\n"
)

// says answers with a text.
func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, text) }
}

// with sets header fields given as name and value by turns before h.
func with(h http.HandlerFunc, fields ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i < len(fields); i += 2 {
			w.Header().Set(fields[i], fields[i+1])
		}
		h(w, r)
	}
}

// status answers with a status before h.
func status(code int, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(code)
		h(w, r)
	}
}

func nothing(http.ResponseWriter, *http.Request) {}

// flushes writes each text by itself.
func flushes(texts ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for _, s := range texts {
			io.WriteString(w, s)
			w.(http.Flusher).Flush()
		}
	}
}

var big = strings.Repeat("x", 1<<20)

// How the end of an answer is told (RFC 9112 section 6.3).
func TestFraming(t *testing.T) {
	converse(t, []exchange{
		{name: "a small body gets its length", in: get, h: says("hello"), want: "200 sized hello | open", has: []string{"Content-Length: 5"}},
		{name: "a small body in many writes gets its length", in: get, h: func(w http.ResponseWriter, r *http.Request) {
			for range 100 {
				io.WriteString(w, "y")
			}
		}, want: "200 sized 100*y | open"},
		{name: "no body has a length of 0", in: get, h: nothing, want: "200 sized | open", has: []string{"Content-Length: 0", "!Content-Type"}},
		{name: "writes of nothing are no body", in: get, h: says(""), want: "200 sized | open", has: []string{"Content-Length: 0"}},
		{name: "a large body is chunked", in: get, h: says(big), want: "200 chunked 1048576*x | open", has: []string{"!Content-Length"}},
		{name: "a large body in 1.0 ends with the connection", in: get10, h: says(big), want: "200 until-close 1048576*x | closed"},
		{name: "a small body in 1.0 gets its length", in: get10, h: says("hello"), want: "200 sized hello | closed"},
		{name: "what is flushed is chunked", in: get, h: flushes("one", "two"), want: "200 chunked onetwo | open"},
		{name: "a flush before any byte", in: get, h: flushes("", "late"), want: "200 chunked late | open"},
		{name: "what is flushed in 1.0 ends with the connection", in: get10, h: flushes("one", "two"), want: "200 until-close onetwo | closed"},
		{name: "a length that was set", in: get, h: with(says(big), "Content-Length", "1048576"), want: "200 sized 1048576*x | open"},
		{name: "a length that was set, flushed", in: get, h: with(flushes("one", "two"), "Content-Length", "6"), want: "200 sized onetwo | open"},
		{name: "a length that is none is dropped", in: get, h: with(says("hello"), "Content-Length", "many"), want: "200 chunked hello | open", by: badLength, ours: "200 sized hello | open"},
		{name: "a length below 0 is dropped", in: get, h: with(says("hello"), "Content-Length", "-5"), want: "200 chunked hello | open", by: badLength, ours: "200 sized hello | open"},
		{name: "a length refused", in: get, h: func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Content-Length"] = nil
			io.WriteString(w, "hello")
		}, want: "200 chunked hello | open"},
		{name: "too little for the length", in: get, h: with(says("hello"), "Content-Length", "50"), want: "200 sized hello CUT | closed"},
		{name: "nothing for the length", in: get, h: with(nothing, "Content-Length", "50"), want: "200 sized CUT | closed"},
		{name: "too much for the length", in: get, h: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "5")
			io.WriteString(w, "he")
			n, err := io.WriteString(w, "llo you")
			if !errors.Is(err, http.ErrContentLength) {
				panic(fmt.Sprint(n, err))
			}
		}, want: "200 sized he CUT | closed"},
		{name: "the length, then more", in: get, h: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "5")
			io.WriteString(w, "hello")
			if n, err := io.WriteString(w, "you"); !errors.Is(err, http.ErrContentLength) {
				panic(fmt.Sprint(n, err))
			}
		}, want: "200 sized hello | closed"},
		{name: "identity with a length", in: get, h: with(says("hello"), "Transfer-Encoding", "identity", "Content-Length", "5"), want: "200 sized hello | open", has: []string{"!Transfer-Encoding"}},
		{name: "identity ends with the connection", in: get, h: with(says("hello"), "Transfer-Encoding", "identity"), want: "200 until-close [close] hello | closed", has: []string{"!Transfer-Encoding"}},
		{name: "chunked set by the handler", in: get, h: with(says("hello"), "Transfer-Encoding", "chunked"), want: "200 chunked hello | open", by: ownCoding, ours: "200 sized hello | open"},
		{name: "chunked set by the handler, for 1.0", in: get10, h: with(says("hello"), "Transfer-Encoding", "chunked"), want: "200 until-close hello | closed", has: []string{"!Transfer-Encoding"}, by: ownCoding, ours: "200 sized hello | closed"},
		{name: "chunked and a length", in: get, h: with(says("hello"), "Transfer-Encoding", "chunked", "Content-Length", "5"), want: "200 chunked hello | open", by: ownCoding, ours: "200 sized hello | open"},
		{name: "the first of two answers is long", in: get + get, h: says(big), want: "200 chunked 1048576*x | 200 chunked 1048576*x | open"},
	})
}

// Answers that have no body (RFC 9112 section 6.3, 1).
func TestBodyless(t *testing.T) {
	converse(t, []exchange{
		{name: "HEAD, small", in: head, h: says("hello"), want: "200 bodyless | open", has: []string{"Content-Length: 5", "Content-Type: text/plain; charset=utf-8"}},
		{name: "HEAD, large", in: head, h: says(big), want: "200 bodyless | open"},
		{name: "HEAD, flushed", in: head, h: flushes("one", "two"), want: "200 bodyless | open"},
		{name: "HEAD, nothing", in: head, h: nothing, want: "200 bodyless | open", has: []string{"!Content-Length"}},
		{name: "HEAD, a length that was set", in: head, h: with(nothing, "Content-Length", "50"), want: "200 bodyless | open", has: []string{"Content-Length: 50"}},
		{name: "HEAD, a length that is more than what is written", in: head, h: with(says("hello"), "Content-Length", "50"), want: "200 bodyless | open", has: []string{"Content-Length: 50"}},
		{name: "HEAD, identity", in: head, h: with(says("hello"), "Transfer-Encoding", "identity"), want: "200 bodyless | open"},
		{name: "HEAD in 1.0, kept", in: request("HEAD / HTTP/1.0", "Connection: keep-alive"), h: with(nothing, "Content-Length", "50"), want: "200 bodyless [keep-alive] | open"},
		{name: "HEAD, copied from a reader", in: head, h: func(w http.ResponseWriter, r *http.Request) {
			n, err := w.(io.ReaderFrom).ReadFrom(strings.NewReader(big))
			if n != int64(len(big)) || err != nil {
				panic(fmt.Sprint(n, err))
			}
		}, want: "200 bodyless | open"},
		{name: "204", in: get, h: status(204, nothing), want: "204 bodyless | open", has: []string{"!Content-Length", "!Content-Type", "!Transfer-Encoding"}},
		{name: "304", in: get, h: status(304, nothing), want: "304 bodyless | open", has: []string{"!Content-Length", "!Content-Type", "!Transfer-Encoding"}},
		{name: "204 with a length", in: get, h: with(status(204, nothing), "Content-Length", "50"), want: "204 bodyless | open", has: []string{"!Content-Length"}},
		{name: "204 with a coding", in: get, h: with(status(204, nothing), "Transfer-Encoding", "chunked"), want: "204 bodyless | open", has: []string{"!Transfer-Encoding"}},
		{name: "204 with a type", in: get, h: with(status(204, nothing), "Content-Type", "a/b"), want: "204 bodyless | open", has: []string{"Content-Type: a/b"}},
		{name: "204 with a body", in: get, h: status(204, refusedBody), want: "204 bodyless | open"},
		{name: "304 with a body", in: get, h: status(304, refusedBody), want: "304 bodyless | open"},
		{name: "204 flushed", in: get, h: status(204, flushes("")), want: "204 bodyless | open", has: []string{"!Transfer-Encoding"}},
		{name: "204 in 1.0, kept", in: request("GET / HTTP/1.0", "Connection: keep-alive"), h: status(204, nothing), want: "204 bodyless [keep-alive] | open"},
		{name: "304 in 1.0, kept", in: request("GET / HTTP/1.0", "Connection: keep-alive"), h: status(304, nothing), want: "304 bodyless [keep-alive] | open"},
		{name: "HEAD, then GET", in: head + get, h: says("hello"), want: "200 bodyless | 200 sized hello | open"},
	})
}

func refusedBody(w http.ResponseWriter, r *http.Request) {
	if n, err := io.WriteString(w, "no"); !errors.Is(err, http.ErrBodyNotAllowed) {
		panic(fmt.Sprint(n, err))
	}
}

// Answers ahead of the answer (RFC 9110 section 15.2).
func TestInformational(t *testing.T) {
	hints := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a>")
		w.WriteHeader(103)
		w.Header().Set("Link", "</b>")
		w.WriteHeader(103)
		io.WriteString(w, "hello")
	}
	converse(t, []exchange{
		{name: "two hints", in: get, h: hints, want: "103 | 103 | 200 sized hello | open", has: []string{"Link: </b>"}},
		{name: "two hints, then HEAD's answer", in: head, h: hints, want: "103 | 103 | 200 bodyless | open"},
		{name: "processing", in: get, h: status(102, says("hello")), want: "102 | 200 sized hello | open"},
		{name: "a hint, then a status", in: get, h: status(103, status(404, says("no"))), want: "103 | 404 sized no | open"},
		{name: "only a hint", in: get, h: status(103, nothing), want: "103 | 200 sized | open"},
		{name: "hints in two requests", in: get + get, h: status(103, says("hello")), want: "103 | 200 sized hello | 103 | 200 sized hello | open"},
	})
}

// A hint leaves at once, without what is about the answer's body (RFC 9110 section
// 8.6).
func TestInformationalAtOnce(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		first := make(chan bool)
		s := m.serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "</a>")
			w.Header().Set("Content-Length", "2")
			w.WriteHeader(103)
			<-first
			io.WriteString(w, "ok")
		})
		c := dial(t, s)
		c.send(get)
		a := c.answer("GET") // before the handler has gone on
		if a.status != 103 || a.header.Get("Link") != "</a>" || a.header.Get("Date") != "" || a.header["Content-Length"] != nil {
			t.Errorf("%v %v", a, a.header)
		}
		close(first)
		if a := c.answer("GET"); a.status != 200 {
			t.Error(a)
		}
	})
}

// WriteHeader and Header follow http.ResponseWriter's contract.
func TestWriteHeader(t *testing.T) {
	converse(t, []exchange{
		{name: "the first status counts", in: get, h: status(404, status(500, says("no"))), want: "404 sized no | open"},
		{name: "a status after the body", in: get, h: func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "hello")
			w.WriteHeader(500)
		}, want: "200 sized hello | open"},
		{name: "an odd status", in: get, h: status(599, says("no")), want: "599 sized no | open"},
		{name: "a field set after the status is late", in: get, h: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-A", "a")
			w.WriteHeader(200)
			w.Header().Set("X-A", "late")
			w.Header().Set("X-B", "late")
			io.WriteString(w, "hello")
		}, want: "200 sized hello | open", has: []string{"X-A: a", "!X-B"}},
		{name: "a field set after a write is late", in: get, h: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "a/b")
			io.WriteString(w, "hello")
			w.Header().Set("X-B", "late")
		}, want: "200 sized hello | open", has: []string{"Content-Type: a/b", "!X-B"}},
		{name: "a field set after a flush is late", in: get, h: func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			w.Header().Set("X-B", "late")
		}, want: "200 chunked | open", has: []string{"!X-B"}},
		{name: "an error page replaces the length", in: get, h: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			http.Error(w, "no", 400)
		}, want: "400 sized no\n | open"},
	})
}

// WriteHeader panics for what is no status.
func TestWriteHeaderNoStatus(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		for _, code := range []int{0, 99, 1000} {
			said := make(chan any, 1)
			c := dial(t, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
				defer func() { said <- recover() }()
				w.WriteHeader(code)
			}))
			c.send(get)
			if take(t, "panic", said) == nil {
				t.Errorf("%d is taken", code)
			}
			if a := c.answer("GET"); a.status != 200 {
				t.Errorf("after %d: %v", code, a)
			}
		}
	})
}

// Trailers of an answer.
func TestAnswerTrailers(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		want, fields := "200 chunked hello", 2
		if m.differs(trailers) {
			want, fields = "200 sized hello", 0
		}
		c := dial(t, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-Sum")
			io.WriteString(w, "hello")
			w.Header().Set("X-Sum", "5")
			w.Header().Set(http.TrailerPrefix+"X-More", "6")
			w.Header().Set("X-Late", "7")
		}))
		c.send(get)
		a := c.answer("GET")
		if a.String() != want || a.header.Get("X-Sum") != "" {
			t.Errorf("%v %v", a, a.header)
		}
		if len(a.trailer) != fields || fields > 0 && (a.trailer.Get("X-Sum") != "5" || a.trailer.Get("X-More") != "6") {
			t.Errorf("trailers %v", a.trailer)
		}
		if s := c.probe(); s != "open" {
			t.Error(s)
		}
	})
}
