package front

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"
)

func TestAccessLog(t *testing.T) {
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	request := func(remote, uri string, h http.Header) *http.Request {
		return &http.Request{Method: "GET", RequestURI: uri, Proto: "HTTP/1.1", Host: "example.org", RemoteAddr: remote, Header: h}
	}
	for _, tc := range []struct {
		name   string
		format Format
		r      *http.Request
		want   string
	}{
		{"common", Common, request("192.0.2.1:5000", "/a?b=c", http.Header{"User-Agent": {"x"}}),
			`192.0.2.1 - - [02/Jan/2026:03:04:05 +0100] "GET /a?b=c HTTP/1.1" 200 42`},
		{"combined", Combined, request("[::1]:5000", "/", http.Header{"User-Agent": {"x y"}, "Referer": {"http://r/"}}),
			`::1 - - [02/Jan/2026:03:04:05 +0100] "GET / HTTP/1.1" 200 42 "http://r/" "x y"`},
		{"nothing known", Combined, request("@", "/", nil),
			`unix: - - [02/Jan/2026:03:04:05 +0100] "GET / HTTP/1.1" 200 42 "-" "-"`},
		{"hostile", Combined, request("192.0.2.1:5000", "/\"\\\x1b[31m", http.Header{"User-Agent": {"a\"\nb\x7f"}, "Referer": {"\xff\u202e"}}),
			`192.0.2.1 - - [02/Jan/2026:03:04:05 +0100] "GET /\"\\\x1b[31m HTTP/1.1" 200 42 "\xff\xe2\x80\xae" "a\"\x0ab\x7f"`},
	} {
		var b bytes.Buffer
		log := &AccessLog{Out: &b, Format: tc.format}
		log.write(tc.r, &response{status: 200, bytes: 42}, begin)
		if got := b.String(); got != tc.want+"\n" {
			t.Errorf("%s:\n%swant\n%s", tc.name, got, tc.want)
		}
	}
}

// Where an application named the file, the line ends with what became of it.
func TestAccessLogFile(t *testing.T) {
	r := &http.Request{Method: "GET", RequestURI: "/", Proto: "HTTP/1.1", RemoteAddr: "192.0.2.1:5000"}
	for _, tc := range []struct {
		format     Format
		file, want string
	}{
		{Common, "complete", "\"GET / HTTP/1.1\" 200 42 complete\n"},
		{Combined, "aborted", "\"GET / HTTP/1.1\" 200 42 \"-\" \"-\" aborted\n"},
		{Combined, "", "\"GET / HTTP/1.1\" 200 42 \"-\" \"-\"\n"},
		{JSON, "complete", `"file":"complete"`},
		{JSON, "", `"aborted":false}` + "\n"},
	} {
		var b bytes.Buffer
		log := &AccessLog{Out: &b, Format: tc.format}
		log.write(r, &response{status: 200, bytes: 42, file: tc.file}, time.Now())
		if !strings.Contains(b.String(), tc.want) {
			t.Errorf("%q lacks %q", b.String(), tc.want)
		}
	}
}

func TestAccessLogJSON(t *testing.T) {
	var b bytes.Buffer
	log := &AccessLog{Out: &b, Format: JSON}
	r := &http.Request{Method: "GET", RequestURI: "/\x1b\n\"", Proto: "HTTP/1.0", Host: "example.org", RemoteAddr: "192.0.2.1:5000",
		Header: http.Header{"User-Agent": {"a\u2028\u009b\x7fb"}}}
	log.write(r, &response{status: 404, bytes: 7, aborted: true}, time.Now().Add(-time.Second))
	line := b.String()
	if strings.Count(line, "\n") != 1 || strings.ContainsFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool { return unicode.IsControl(r) }) {
		t.Errorf("control bytes in %q", line)
	}
	var got struct {
		Client, Host, Method, URI, Protocol string
		UserAgent                           string `json:"user_agent"`
		Status, Bytes                       int
		Seconds                             float64
		Aborted                             bool
		Time                                time.Time
	}
	if err := json.Unmarshal([]byte(line), &got); err != nil {
		t.Fatal(err)
	}
	if got.Client != "192.0.2.1" || got.URI != r.RequestURI || got.Status != 404 || got.Bytes != 7 || !got.Aborted || got.Seconds < 1 ||
		got.UserAgent != r.UserAgent() || got.Time.IsZero() {
		t.Errorf("%+v from %s", got, line)
	}
}

// FuzzAppendEscaped: one line of printable ASCII, in which no quote ends early.
func FuzzAppendEscaped(f *testing.F) {
	f.Add("plain")
	f.Add("\"\\\n\x00\x7f\xff\u202e")
	f.Fuzz(func(t *testing.T, in string) {
		got := string(appendEscaped(nil, in))
		for i := 0; i < len(got); i++ {
			switch c := got[i]; {
			case c < ' ' || c >= 0x7f:
				t.Fatalf("%q becomes %q", in, got)
			case c == '"':
				t.Fatalf("%q becomes %q: a bare quote", in, got)
			case c == '\\':
				i++
				if i == len(got) {
					t.Fatalf("%q becomes %q: a bare backslash", in, got)
				}
			}
		}
	})
}
