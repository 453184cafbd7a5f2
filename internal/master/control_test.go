package master

import (
	"bufio"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestControl(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	got := make(chan Command, 8)
	c, err := openControl(path, func(k *call) {
		got <- k.Command
		r := Result{OK: k.Name == "stop"}
		if !r.OK {
			r.Error = "not that one"
		}
		k.answer(r)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the control socket has mode %v, %v", fi.Mode(), err)
	}
	if err := Send(path, Command{Name: "stop", Now: true}); err != nil {
		t.Error(err)
	}
	if cmd := <-got; cmd != (Command{Name: "stop", Now: true}) {
		t.Errorf("the server got %+v", cmd)
	}
	if err := Send(path, Command{Name: "dance"}); err == nil || err.Error() != "not that one" {
		t.Errorf("refused: %v", err)
	}
	// One server at a socket.
	if _, err := openControl(path, nil); err == nil {
		t.Error("a second server took the socket")
	}
}

func TestControlGarbage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	c, err := openControl(path, func(k *call) {
		t.Errorf("carried out: %+v", k.Command)
		k.answer(Result{})
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	for name, text := range map[string]string{
		"no JSON": "stop\n", "another type": "[1]\n", "no end": `{"command":"stop"}`, "too long": strings.Repeat("x", 1<<20) + "\n",
	} {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		io.WriteString(conn, text)
		conn.(*net.UnixConn).CloseWrite()
		line, _ := bufio.NewReader(conn).ReadString('\n')
		if !strings.Contains(line, `"ok":false`) && name != "too long" {
			t.Errorf("%s: answered with %q", name, line)
		}
		conn.Close()
	}
}

func TestSendToNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	if err := Send(path, Command{Name: "stop"}); err == nil || err.Error() != "no server at "+path {
		t.Errorf("no socket: %v", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if err := Send(path, Command{Name: "stop"}); err == nil || err.Error() != "no server at "+path {
		t.Errorf("a stale socket: %v", err)
	}
}
