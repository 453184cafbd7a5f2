package master

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sluice/internal/status"
)

// Command is what a control client asks for: one JSON object on a line.
type Command struct {
	Name string `json:"command"`       // one of commands
	Now  bool   `json:"now,omitempty"` // stop: do not wait for requests
	App  string `json:"app,omitempty"` // restart
}

// Result is the answer to a Command, on a line when it has been carried out.
type Result struct {
	OK     bool           `json:"ok"`
	Error  string         `json:"error,omitempty"`
	Status *status.Status `json:"status,omitempty"`
	// Restarted is how many children a restart has replaced, also before it failed.
	Restarted int `json:"restarted,omitempty"`
	// Text is what there is to say, in lines.
	Text string `json:"text,omitempty"`
}

// control serves the control socket. Who may connect is a matter of the
// socket's mode and, since a folder may be shared, of who the peer is.
type control struct {
	l   *net.UnixListener
	run func(Command, *net.UnixConn)
}

func openControl(path string, run func(Command, *net.UnixConn)) (*control, error) {
	if err := clearStale(path); err != nil {
		return nil, fmt.Errorf("control socket %s: %w", path, err)
	}
	mask := syscall.Umask(0o177)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	syscall.Umask(mask)
	if err != nil {
		return nil, fmt.Errorf("control socket %s: %w", path, err)
	}
	c := &control{l: l, run: run}
	go c.serve()
	return c, nil
}

func (c *control) serve() {
	for {
		conn, err := c.l.AcceptUnix()
		if err != nil {
			return
		}
		go c.handle(conn)
	}
}

// commandTimeout is how long a client may take to say what it wants.
const commandTimeout = 5 * time.Second

func (c *control) handle(conn *net.UnixConn) {
	if err := trusted(conn); err != nil {
		reply(conn, Result{Error: err.Error()})
		conn.Close()
		return
	}
	conn.SetReadDeadline(time.Now().Add(commandTimeout))
	line, err := bufio.NewReader(conn).ReadSlice('\n')
	var cmd Command
	if err == nil {
		err = json.Unmarshal(line, &cmd)
	}
	if err != nil {
		reply(conn, Result{Error: "not a command: " + err.Error()})
		conn.Close()
		return
	}
	c.run(cmd, conn)
}

// trusted lets in root and who runs the master.
func trusted(conn *net.UnixConn) error {
	rc, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Ucred
	if cerr := rc.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); cerr != nil {
		return cerr
	}
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	if cred.Uid != 0 && int(cred.Uid) != os.Geteuid() {
		return fmt.Errorf("user %d may not control this server", cred.Uid)
	}
	return nil
}

func reply(conn *net.UnixConn, r Result) {
	conn.SetWriteDeadline(time.Now().Add(commandTimeout))
	json.NewEncoder(conn).Encode(r)
}

func (c *control) close() { c.l.Close() }

// Send sends a command to the server at the control socket and waits until it
// has been carried out.
func Send(path string, cmd Command) error {
	_, err := Ask(path, cmd)
	return err
}

// NoServerError is a control socket at which nobody listens.
type NoServerError struct{ Path string }

func (e *NoServerError) Error() string { return "no server at " + e.Path }

// Ask is Send for a command whose result says more than whether it went well.
func Ask(path string, cmd Command) (*Result, error) {
	conn, err := net.Dial("unix", path)
	if err != nil {
		if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) {
			return nil, &NoServerError{path}
		}
		return nil, err
	}
	defer conn.Close()
	if err := json.NewEncoder(conn).Encode(cmd); err != nil {
		return nil, err
	}
	var r Result
	if err := json.NewDecoder(conn).Decode(&r); err != nil {
		return nil, fmt.Errorf("the server at %s did not answer: %w", path, err)
	}
	if !r.OK {
		return &r, errors.New(r.Error)
	}
	return &r, nil
}
