package spawner

import (
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestIsShut(t *testing.T) {
	for _, how := range []int{unix.SHUT_RD, unix.SHUT_RDWR, unix.SHUT_WR} {
		unixSocket := listenAt(t)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		tcp, err := l.(*net.TCPListener).File()
		must(t, err)
		l.Close()
		defer tcp.Close()
		for name, f := range map[string]*os.File{"unix": unixSocket, "tcp": tcp} {
			if isShut(f) {
				t.Errorf("%s: it is not shut down", name)
			}
			if err := unix.Shutdown(int(f.Fd()), how); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			// A socket that listens has no writing half.
			if got, want := isShut(f), how != unix.SHUT_WR; got != want {
				t.Errorf("%s: %v after shutdown %d, want %v", name, got, how, want)
			}
		}
	}
}
