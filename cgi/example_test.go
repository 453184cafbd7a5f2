package cgi_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"time"

	"sluice/cgi"
	"sluice/spawner"
)

// A script is started, its header read, and its body passed on.
func ExampleRun() {
	r := httptest.NewRequest("POST", "/hello.cgi?who=you", nil)
	meta := &cgi.Meta{Request: r, ScriptName: "/hello.cgi", BodyLength: 4}
	command := cgi.Command{
		Path: "/bin/sh",
		Args: []string{"sh", "-c", `echo "Content-Type: text/plain"; echo; echo "$REQUEST_METHOD $QUERY_STRING"; cat`},
		Dir:  "/",
	}
	meta.Each(func(name, value string) { command.Env = append(command.Env, name+"="+value) })

	s, err := cgi.Run(&spawner.Scripts{}, command, cgi.Input{Memory: []byte("body")}, cgi.Options{StopGrace: time.Second})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close(cgi.Complete)
	s.SetReadDeadline(time.Now().Add(10 * time.Second))
	h, rest, _, err := cgi.ReadHeader(s, nil, 64<<10)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(h.Code(), h.Fields.Get("Content-Type"))
	os.Stdout.Write(rest)
	io.Copy(os.Stdout, s)
	end, _ := s.Ended(time.Second)
	fmt.Println("\n" + end.String())
	// Output:
	// 200 text/plain
	// POST who=you
	// body
	// exit status 0
}

func ExampleMeta_Each() {
	r := httptest.NewRequest("GET", "/app.cgi/news/1?sort=date", nil)
	r.Header.Set("Accept-Language", "en")
	r.Header.Set("Proxy", "http://evil.example/")
	m := &cgi.Meta{Request: r, ScriptName: "/app.cgi", PathInfo: "/news/1", DocumentRoot: "/srv/www"}
	var all []string
	m.Each(func(name, value string) {
		if strings.HasPrefix(name, "PATH_") || strings.HasPrefix(name, "HTTP_") || name == "SCRIPT_NAME" {
			all = append(all, name+"="+value)
		}
	})
	slices.Sort(all)
	fmt.Println(strings.Join(all, "\n"))
	// Output:
	// HTTP_ACCEPT_LANGUAGE=en
	// HTTP_HOST=example.com
	// PATH_INFO=/news/1
	// PATH_TRANSLATED=/srv/www/news/1
	// SCRIPT_NAME=/app.cgi
}

func ExampleReadHeader() {
	answer := strings.NewReader("Status: 404 Not Found\r\nContent-Type: text/plain\r\n\r\nno such page")
	h, rest, _, err := cgi.ReadHeader(answer, nil, 64<<10)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%d %s %q\n", h.Code(), h.Fields.Get("Content-Type"), rest)
	// Output: 404 text/plain "no such page"
}

func ExampleParseHeader() {
	for _, block := range []string{"Location: /other?x=1\n\n", "Location: http://example.org/\n\n", "Content-Length: 3x\n\n"} {
		h, err := cgi.ParseHeader([]byte(block))
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Printf("%d local=%q\n", h.Code(), h.LocalRedirect())
	}
	// Output:
	// 302 local="/other?x=1"
	// 302 local=""
	// header line 1 ("Content-Length: 3x"): the Content-Length is not a number
}

func ExampleErrorLog() {
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	errs := &cgi.ErrorLog{App: "shop", Log: log, Lines: 100, Per: time.Second}
	l := errs.For(4711)
	io.WriteString(l, "Use of uninitialized value\nDiv")
	io.WriteString(l, "ision by zero")
	l.Flush()
	// Output:
	// level=WARN msg=stderr app=shop pid=4711 line="Use of uninitialized value"
	// level=WARN msg=stderr app=shop pid=4711 line="Division by zero"
}
