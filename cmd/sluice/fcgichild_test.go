package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// scriptedChild is a FastCGI application that misbehaves as it is told. Its
// first argument says what to do before it accepts; a query says what to do
// with a request:
//
//	do=die-read     read the request, then die
//	do=die-header   die in the middle of the header block
//	do=die-body     die in the middle of the body
//	do=short        end the request short of its Content-Length
//	do=hang         never answer
//	do=exit         answer, then exit with status 0 at once
//	do=fork         start a process in a session of its own, and say its pid
//	sleep=1s        before the answer
//	grow=MIB        of memory, for good, before that
//	sendfile=PATH   by X-Sendfile
//	noise=BYTES     of body behind the header
//	status=N        of END_REQUEST: 1 CANT_MPX_CONN, 2 OVERLOADED, 3 UNKNOWN_ROLE
//	record=unknown  a record of unknown type before the answer
//	record=version  a record of the wrong version instead of it
//	env=NAME        adds NAME=value to the answer
//	environ=NAME    the same of the child's own environment
//
// A request's X-Head is its header, with "|" between the lines.
//
// The body of the answer is "pid=N\n" and the request's method and body length.
// As an authorizer and as a filter it is the one of fcgiroles_test.go; with a field Test-Say, and at /sent, the one of
// dialects_test.go.
func scriptedChild() {
	if len(os.Args) > 1 {
		before(os.Args[1])
	}
	l, err := net.FileListener(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, "fcgi-child:", err)
		os.Exit(1)
	}
	for {
		c, err := l.Accept()
		if err != nil {
			os.Exit(0)
		}
		for serveRecords(c) {
		}
		c.Close()
	}
}

// before is what happens before the first accept: "exit" ends at once, "once:FILE"
// dies before it accepts unless FILE exists, and makes it.
func before(how string) {
	if how == "exit" {
		fmt.Fprintln(os.Stderr, "I never wanted to live")
		os.Exit(3)
	}
	if file, ok := strings.CutPrefix(how, "once:"); ok {
		if _, err := os.Stat(file); err != nil {
			os.WriteFile(file, nil, 0o644)
			time.Sleep(200 * time.Millisecond) // so that a request waits for it
			die()
		}
	}
}

func die() {
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
	time.Sleep(time.Hour)
}

const (
	recBegin, recEnd, recParams, recStdin, recStdout, recData = 1, 3, 4, 5, 6, 8
)

// serveRecords answers one request; false: the connection is over.
func serveRecords(c net.Conn) bool {
	var params, stdin, data []byte
	keep, role := false, byte(0)
	for {
		kind, content, err := readRecord(c)
		if err != nil {
			return false
		}
		switch kind {
		case recBegin:
			role, keep = content[1], content[2]&1 != 0
		case recParams:
			params = append(params, content...)
		case recStdin:
			stdin = append(stdin, content...)
			if len(content) > 0 || role == roleFilter {
				continue
			}
			if done, more := saidRecords(c, params, stdin); done {
				return more && keep
			}
			if role == roleAuthorizer {
				return authorizeRecords(c, decodeParams(params), len(stdin)) && keep
			}
			return answerRecords(c, decodeParams(params), len(stdin)) && keep
		case recData:
			data = append(data, content...)
			if len(content) == 0 {
				return filterRecords(c, decodeParams(params), string(stdin), string(data)) && keep
			}
		}
	}
}

var grown [][]byte

func answerRecords(c net.Conn, env map[string]string, body int) bool {
	q, _ := url.ParseQuery(env["QUERY_STRING"])
	if n, err := strconv.Atoi(q.Get("grow")); err == nil {
		b := make([]byte, n<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		grown = append(grown, b)
	}
	if d, err := time.ParseDuration(q.Get("sleep")); err == nil {
		time.Sleep(d)
	}
	switch q.Get("do") {
	case "die-read":
		die()
	case "die-header":
		writeRecord(c, recStdout, "Content-Type: text/plain\r\nX-Secret-Of-The-Child: 1\r\nX-Half")
		time.Sleep(50 * time.Millisecond)
		die()
	case "die-body":
		n, _ := strconv.Atoi(q.Get("noise"))
		writeRecord(c, recStdout, "Content-Type: text/plain\r\n\r\nthe first half")
		for ; n > 0; n -= 8000 {
			writeRecord(c, recStdout, strings.Repeat("x", 8000))
		}
		time.Sleep(200 * time.Millisecond)
		die()
	case "hang":
		time.Sleep(time.Hour)
	}
	switch q.Get("record") {
	case "unknown":
		writeRecord(c, 99, "whatever this is")
	case "version":
		c.Write([]byte{7, recStdout, 0, 1, 0, 4, 0, 0, 'a', 'b', 'c', 'd'})
		return true
	}
	status, _ := strconv.Atoi(q.Get("status"))
	if status != 0 {
		endRecord(c, byte(status))
		return true
	}
	text := fmt.Sprintf("pid=%d\n%s %d\n", os.Getpid(), env["REQUEST_METHOD"], body)
	if name := q.Get("env"); name != "" {
		text += name + "=" + env[name] + "\n"
	}
	if name := q.Get("environ"); name != "" {
		text += "environ " + name + "=" + os.Getenv(name) + "\n"
	}
	if q.Get("do") == "fork" {
		cmd := exec.Command("sleep", "300")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			text += err.Error()
		} else {
			text += fmt.Sprintf("grandchild=%d\n", cmd.Process.Pid)
		}
	}
	head := "Content-Type: text/plain\r\n"
	if f := q.Get("sendfile"); f != "" {
		head += "X-Sendfile: " + f + "\r\n"
	}
	if own := env["HTTP_X_HEAD"]; own != "" {
		head = strings.ReplaceAll(own, "|", "\r\n") + "\r\n"
	}
	if q.Get("do") == "short" {
		head += "Content-Length: 100000\r\n"
	}
	// In one write, as most do: a child that is killed has then answered or not.
	out := bufio.NewWriter(c)
	writeRecord(out, recStdout, head+"\r\n"+text)
	if n, err := strconv.Atoi(q.Get("noise")); err == nil {
		for ; n > 0; n -= 8000 {
			if writeRecord(out, recStdout, strings.Repeat("x", min(n, 8000))) != nil {
				return false
			}
		}
	}
	endRecord(out, 0)
	out.Flush()
	if q.Get("do") == "exit" {
		os.Exit(0)
	}
	return true
}

func readRecord(r io.Reader) (kind byte, content []byte, err error) {
	var h [8]byte
	if _, err = io.ReadFull(r, h[:]); err != nil {
		return 0, nil, err
	}
	n := int(binary.BigEndian.Uint16(h[4:]))
	buf := make([]byte, n+int(h[6]))
	_, err = io.ReadFull(r, buf)
	return h[1], buf[:n], err
}

func writeRecord(w io.Writer, kind byte, content string) error {
	h := []byte{1, kind, 0, 1, byte(len(content) >> 8), byte(len(content)), 0, 0}
	_, err := w.Write(append(h, content...))
	return err
}

func endRecord(w io.Writer, status byte) {
	writeRecord(w, recStdout, "")
	writeRecord(w, recEnd, string([]byte{0, 0, 0, 0, status, 0, 0, 0}))
}

func decodeParams(b []byte) map[string]string {
	env := map[string]string{}
	length := func() int {
		n := int(b[0])
		if n < 128 {
			b = b[1:]
			return n
		}
		n = int(binary.BigEndian.Uint32(b) & 0x7fffffff)
		b = b[4:]
		return n
	}
	for len(b) > 0 {
		n := length()
		v := length()
		env[string(b[:n])] = string(b[n : n+v])
		b = b[n+v:]
	}
	return env
}
