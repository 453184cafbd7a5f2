package conformance

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Fields that an answer gets by itself, and those that it must not get.
func TestAnswerFields(t *testing.T) {
	gzip := "\x1f\x8b\x08\x00\x00\x00\x00\x00"
	converse(t, []exchange{
		{name: "text is recognized", in: get, h: says("hello"), want: "200 sized hello | open", has: []string{"Content-Type: text/plain; charset=utf-8"}},
		{name: "HTML is recognized", in: get, h: says("<html>"), want: "200 sized <html> | open", has: []string{"Content-Type: text/html; charset=utf-8"}},
		{name: "an archive is recognized", in: get, h: says(gzip), want: "200 sized " + gzip + " | open", has: []string{"Content-Type: application/x-gzip"}},
		{name: "a large body is recognized by its beginning", in: get, h: says("<html>" + big), want: "200 chunked \"<html>xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"... (1048582) | open", has: []string{"Content-Type: text/html; charset=utf-8"}},
		{name: "what is copied is recognized", in: get, h: func(w http.ResponseWriter, r *http.Request) {
			io.Copy(w, io.LimitReader(strings.NewReader("<html>"), 6))
		}, want: "200 sized <html> | open", has: []string{"Content-Type: text/html; charset=utf-8"}},
		{name: "a type that was set", in: get, h: with(says("<html>"), "Content-Type", "a/b"), want: "200 sized <html> | open", has: []string{"Content-Type: a/b"}},
		{name: "a type that was set to nothing", in: get, h: with(says("<html>"), "Content-Type", ""), want: "200 sized <html> | open"},
		{name: "a type refused", in: get, h: func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Content-Type"] = nil
			io.WriteString(w, "<html>")
		}, want: "200 sized <html> | open", has: []string{"!Content-Type"}},
		{name: "an encoded body is not looked at", in: get, h: with(says(gzip), "Content-Encoding", "gzip"), want: "200 sized " + gzip + " | open", has: []string{"!Content-Type"}},
		{name: "an unknown encoding is one", in: get, h: with(says("<html>"), "Content-Encoding", "a"), want: "200 sized <html> | open", has: []string{"!Content-Type"}},
		{name: "an empty encoding is none", in: get, h: with(says("<html>"), "Content-Encoding", ""), want: "200 sized <html> | open", has: []string{"Content-Type: text/html; charset=utf-8"}},
		{name: "a foreign coding", in: get, h: with(says("<html>"), "Transfer-Encoding", "foo"), want: "200 chunked <html> | open", by: ownCoding, ours: "200 sized <html> | open"},
		{name: "an empty body has no type", in: get, h: status(404, nothing), want: "404 sized | open", has: []string{"!Content-Type"}},
		{name: "a date that was set", in: get, h: with(says("hello"), "Date", "today"), want: "200 sized hello | open", has: []string{"Date: today"}},
		{name: "a date refused", in: get, h: func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Date"] = nil
		}, want: "200 sized | open", has: []string{"!Date"}},
		{name: "line breaks in a value become blanks", in: get, h: with(says("hello"), "X-A", "a\r\nX-Evil: b\n\rc"), want: "200 sized hello | open", has: []string{"X-A: a  X-Evil: b  c", "!X-Evil"}},
		{name: "blanks around a value go", in: get, h: with(says("hello"), "X-A", " \ta b\t "), want: "200 sized hello | open", has: []string{"X-A: a b"}},
		{name: "a name that is no token is left out", in: get, h: func(w http.ResponseWriter, r *http.Request) {
			for _, name := range []string{"X A", "X-A:", "X-A\r\nX-Evil", "", "X-\x00"} {
				w.Header()[name] = []string{"b"}
			}
			io.WriteString(w, "hello")
		}, want: "200 sized hello | open", has: []string{"!X A", "!X-A:", "!X-A", "!X-Evil", "!"}},
	})
}

// Date is the time, in the form of RFC 9110 section 5.6.7.
func TestDate(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		c := dial(t, m.serve(t, says("hello")))
		before := time.Now().Add(-2 * time.Second)
		for range 3 {
			at, err := time.Parse(http.TimeFormat, c.get("/").header.Get("Date"))
			if err != nil || at.Before(before) || at.After(time.Now().Add(2*time.Second)) {
				t.Errorf("%v, %v", at, err)
			}
		}
	})
}

// Several fields of one name all leave, in their order, and so do very many.
func TestManyAnswerFields(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		long := strings.Repeat("v", 10000)
		c := dial(t, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
			for i := range 200 {
				w.Header().Add("X-Many", fmt.Sprint(i))
				w.Header().Set(fmt.Sprintf("X-Long-%d", i), long)
			}
			io.WriteString(w, "hello")
		}))
		for range 2 {
			a := c.get("/")
			if a.String() != "200 sized hello" || len(a.header["X-Many"]) != 200 || a.header["X-Many"][150] != "150" {
				t.Fatalf("%v, %d", a, len(a.header["X-Many"]))
			}
			for i := range 200 {
				if a.header.Get(fmt.Sprintf("X-Long-%d", i)) != long {
					t.Fatalf("field %d", i)
				}
			}
		}
	})
}

// The fields of an answer are the handler's again once it has left: what it
// changes in the map later reaches nobody.
func TestHeaderAfterAnswer(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		if m.differs(usedAgain) {
			return
		}
		kept := make(chan http.Header, 2)
		c := dial(t, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
			kept <- w.Header()
			w.Header().Set("X-A", r.URL.Path)
		}))
		c.get("/a")
		first := take(t, "header", kept)
		first.Set("X-A", "late")
		first.Set("X-B", "late")
		a := c.get("/b")
		if a.header.Get("X-A") != "/b" || a.header.Get("X-B") != "" {
			t.Error(a.header)
		}
	})
}

// Each status has its words; one without is told apart by its number.
func TestStatusLine(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		s := m.serve(t, func(w http.ResponseWriter, r *http.Request) {
			var code int
			fmt.Sscan(r.URL.Path[1:], &code)
			w.WriteHeader(code)
		})
		c := dial(t, s)
		for code := 200; code < 600; code++ {
			a := c.get(fmt.Sprintf("/%d", code))
			want := fmt.Sprintf("HTTP/1.1 %d %s", code, http.StatusText(code))
			if a.line != want && (http.StatusText(code) != "" || !strings.HasPrefix(a.line, want)) {
				t.Errorf("%q; want %q", a.line, want)
			}
		}
	})
}

// A handler has a bufio.Writer's smallest promises, too.
func TestWriteString(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		said := make(chan bool, 1)
		c := dial(t, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
			_, ok := w.(io.StringWriter)
			said <- ok
			bw := bufio.NewWriter(w)
			bw.WriteString("hello")
			bw.Flush()
		}))
		if a := c.get("/"); a.body != "hello" || !take(t, "answer", said) {
			t.Error(a)
		}
	})
}
