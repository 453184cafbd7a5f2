package sendfile_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"sluice/sendfile"
)

// The whole way: a child's header in, its file out.
func Example() {
	root, err := os.MkdirTemp("", "files")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(root)
	if err := os.WriteFile(filepath.Join(root, "report.txt"), []byte("all is well\n"), 0o644); err != nil {
		log.Fatal(err)
	}
	sender, err := sendfile.New(sendfile.Options{Roots: []string{root}, Type: sendfile.TypeDefault})
	if err != nil {
		log.Fatal(err)
	}

	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/report", nil)
	r.Header.Set("Range", "bytes=7-")

	// What a child said, with status 200.
	w.Header().Set("Content-Type", "text/html")
	w.Header().Set("X-Sendfile", root+"/report.txt")

	order, _, ok, err := sender.Take(w.Header())
	if err != nil || !ok {
		log.Fatal("no file: ", err)
	}
	file, err := sender.Open(order)
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	if err := sender.Reply(200).Serve(w, r, file); err != nil {
		log.Fatal(err) // abort the connection
	}
	fmt.Println(w.Code, w.Header().Get("Content-Type"), w.Header().Get("Content-Range"))
	fmt.Print(w.Body)
	// Output:
	// 206 text/plain; charset=utf-8 bytes 7-11/12
	// well
}

// A refusal carries the status for the client, and a text that is only for the log.
func ExampleError() {
	sender, err := sendfile.New(sendfile.Options{Roots: []string{"/srv/files"}})
	if err != nil {
		log.Fatal(err)
	}
	h := http.Header{"X-Sendfile": {"/srv/files/../../etc/passwd"}}
	order, _, _, _ := sender.Take(h)
	_, err = sender.Open(order)
	var refusal *sendfile.Error
	if errors.As(err, &refusal) {
		fmt.Println(refusal.Status)
		fmt.Println(refusal)
	}
	// Output:
	// 403
	// open "/etc/passwd": outside every root (root /srv/files)
}

// zeroCopy is a listener for http.Server.
type zeroCopy struct{ net.Listener }

func (l zeroCopy) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return sendfile.WrapConn(c), nil
}

// With net/http, a listener that wraps its connections is all that sendfile(2) needs.
func ExampleWrapConn() {
	root, err := os.MkdirTemp("", "files")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(root)
	if err := os.WriteFile(filepath.Join(root, "hello.txt"), []byte("hello\n"), 0o644); err != nil {
		log.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		file, err := sendfile.OpenBeneath(root, r.URL.Path, sendfile.Beneath)
		if err != nil {
			var refusal *sendfile.Error
			errors.As(err, &refusal)
			http.Error(w, http.StatusText(refusal.Status), refusal.Status)
			return
		}
		defer file.Close()
		if err := sendfile.Serve(w, r, http.StatusOK, file); err != nil {
			panic(http.ErrAbortHandler)
		}
	})}
	go server.Serve(zeroCopy{l})
	defer server.Close()

	for _, path := range []string{"/hello.txt", "/missing"} {
		resp, err := http.Get("http://" + l.Addr().String() + path)
		if err != nil {
			log.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Printf("%d %s", resp.StatusCode, body)
	}
	// Output:
	// 200 hello
	// 404 Not Found
}
