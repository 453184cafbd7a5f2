package master

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
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
	l         *net.UnixListener
	run       func(*call)
	gate      gate
	answering sync.RWMutex // read while a call is answered

	mu    sync.Mutex
	calls map[*call]bool // that have not been answered
}

// call is a client of the control socket.
type call struct {
	Command
	conn *net.UnixConn
	from *control
	gate gate
	read bool // the Command has been; under from's mu
}

// answer answers a call, which is over with that.
func (c *call) answer(r Result) {
	c.from.answering.RLock()
	defer c.from.answering.RUnlock()
	reply(c.conn, r)
	c.from.forget(c)
}

func (c *control) forget(gone *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.calls, gone)
	gone.conn.Close()
}

func openControl(path string, run func(*call)) (*control, error) {
	if err := clearStale(path); err != nil {
		return nil, fmt.Errorf("control socket %s: %w", path, err)
	}
	mask := syscall.Umask(0o177)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	syscall.Umask(mask)
	if err != nil {
		return nil, fmt.Errorf("control socket %s: %w", path, err)
	}
	return serveControl(l, run), nil
}

func serveControl(l *net.UnixListener, run func(*call)) *control {
	c := &control{l: l, run: run, calls: map[*call]bool{}}
	go c.serve()
	return c
}

func (c *control) serve() {
	defer c.gate.left()
	for {
		conn, err := c.l.AcceptUnix()
		if c.gate.passes(err) {
			c.l.SetDeadline(time.Time{})
			continue
		}
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // descriptors are short, for now
			time.Sleep(acceptPause)
			continue
		}
		k := &call{conn: conn, from: c}
		c.begin(k)
		go c.handle(k)
	}
}

// acceptPause is the pause after a connection could not be accepted.
const acceptPause = 100 * time.Millisecond

func (c *control) begin(k *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls[k] = true
	if !k.read {
		k.conn.SetReadDeadline(time.Now().Add(commandTimeout))
	}
}

// commandTimeout is how long a client may take to say what it wants.
const commandTimeout = 5 * time.Second

func (c *control) handle(k *call) {
	if err := trusted(k.conn); err != nil {
		k.answer(Result{Error: err.Error()})
		return
	}
	in := bufio.NewReader(k.conn)
	var line []byte
	for {
		var err error
		if line, err = in.ReadSlice('\n'); err == nil {
			break
		}
		if !k.gate.passes(err) {
			k.answer(Result{Error: "not a command: " + err.Error()})
			return
		}
		k.conn.SetReadDeadline(time.Now().Add(commandTimeout))
	}
	if err := json.Unmarshal(line, &k.Command); err != nil {
		k.answer(Result{Error: "not a command: " + err.Error()})
		return
	}
	c.mu.Lock()
	k.read = true
	k.conn.SetReadDeadline(time.Time{})
	c.mu.Unlock()
	c.run(k)
}

// hold has no call accepted, read or answered until release.
func (c *control) hold() error {
	c.gate.shut()
	c.l.SetDeadline(time.Unix(1, 0))
	if err := await(c.gate.held); err != nil {
		c.answering.Lock() // release is for this case, too
		return err
	}
	c.mu.Lock()
	for k := range c.calls {
		k.gate.shut()
		if !k.read {
			k.conn.SetReadDeadline(time.Unix(1, 0))
		}
	}
	c.mu.Unlock()
	err := await(func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for k := range c.calls {
			if !k.read && !k.gate.held() {
				return false
			}
		}
		return true
	})
	c.answering.Lock()
	return err
}

func (c *control) release() {
	c.answering.Unlock()
	c.mu.Lock()
	for k := range c.calls {
		k.gate.open()
	}
	c.mu.Unlock()
	c.gate.open()
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
