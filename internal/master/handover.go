package master

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sluice/internal/front/http1"
)

// fileInbox is the socket by which a worker gets descriptors: from the master, of
// those to whom it gives its idle connections, and from other workers these. Who
// has the other end of it can send there; what is sent comes in order. By the
// secret a worker knows the master from a worker that was taken over.
const fileInbox = "inbox"

// packet is what comes in an inbox. It has a descriptor for each heir, for each
// connection, or for each log.
type packet struct {
	Secret      string         `json:"secret,omitempty"` // with heirs, or none
	Heirs       int            `json:"heirs,omitempty"`
	Order       uint64         `json:"order,omitempty"` // with heirs: is confirmed
	Connections []http1.Parked `json:"connections,omitempty"`
	Logs        []string       `json:"logs,omitempty"` // with the secret: the files that take their places
}

// Bounds of a packet.
const (
	packetBytes = 128 << 10
	packetFiles = 253 // SCM_MAX_FD of the kernel
)

// heirsOf are those that take over the connections of workers that drain.
func (m *Master) heirs() (all []*workerProcess) {
	if m.current != nil {
		all = m.current.living()
	}
	return all
}

// bequeath tells a worker who takes over the connections that idle.
func (m *Master) bequeath(w *workerProcess, heirs []*workerProcess) (done <-chan struct{}) {
	p := packet{Secret: w.secret}
	p.Order, done = w.number()
	var fds []int
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	for _, h := range heirs {
		if fd, err := duplicate(h.inbox); err == nil {
			fds = append(fds, fd)
		}
	}
	p.Heirs = len(fds)
	w.inbox.SetWriteDeadline(time.Now().Add(tellTimeout))
	if err := sendPacket(w.inbox, p, fds...); err != nil && !gone(err) {
		w.deaf(err)
	}
	return done
}

// gone reports whether an error of an inbox says that its worker has ended.
func gone(err error) bool {
	return errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, net.ErrClosed)
}

// bequeathAll tells all workers that drain of those that serve now, and waits until
// they give their connections to nobody else.
func (m *Master) bequeathAll() { m.bequeathAllBut(nil) }

// bequeathAllBut leaves out one generation.
func (m *Master) bequeathAllBut(but *generation) {
	m.mu.Lock()
	var old []*workerProcess
	for _, g := range m.gens {
		if g.state == draining && g != but {
			old = append(old, g.living()...)
		}
	}
	heirs := m.heirs()
	m.mu.Unlock()
	var all sync.WaitGroup
	for _, w := range old {
		all.Go(func() { w.await(m.bequeath(w, heirs)) })
	}
	all.Wait()
}

// duplicate is another descriptor of a connection.
func duplicate(c *net.UnixConn) (fd int, err error) {
	rc, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	cerr := rc.Control(func(n uintptr) { fd, err = unix.FcntlInt(n, unix.F_DUPFD_CLOEXEC, 0) })
	return fd, errors.Join(err, cerr)
}

// inbox is a worker's end.
type inbox struct {
	conn   *net.UnixConn
	secret string
	front  *http1.Server
	done   func(order uint64)
	logs   map[string]*os.File // that can be replaced
	named  chan struct{}       // closed when the first heirs have been named

	mu       sync.Mutex
	heirs    []*net.UnixConn
	next     int
	retiring bool
	once     sync.Once
}

func newInbox(f *os.File, secret string, front *http1.Server, done func(uint64)) (*inbox, error) {
	c, err := packetConn(f)
	if err != nil {
		return nil, err
	}
	return &inbox{conn: c, secret: secret, front: front, done: done, named: make(chan struct{})}, nil
}

// serve takes what comes until the master has gone, or says nonsense.
func (in *inbox) serve() error {
	b, oob := make([]byte, packetBytes), make([]byte, unix.CmsgSpace(packetFiles*4))
	for {
		n, on, flags, _, err := in.conn.ReadMsgUnix(b, oob)
		fds := descriptorsOf(oob[:on])
		var p packet
		switch {
		case err != nil:
		case n == 0:
			err = io.EOF
		case flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0:
			err = errPacket
		default:
			err = json.Unmarshal(b[:n], &p)
		}
		if err == nil && !in.plausible(&p, len(fds)) {
			err = errPacket
		}
		if err != nil {
			for _, fd := range fds {
				unix.Close(fd)
			}
			return err
		}
		in.take(p, fds)
	}
}

// plausible reports whether a packet is one of the three that there are.
func (in *inbox) plausible(p *packet, fds int) bool {
	if len(p.Connections) > 0 {
		return p.Heirs == 0 && fds == len(p.Connections)
	}
	return p.Heirs+len(p.Logs) == fds && (p.Heirs == 0 || p.Logs == nil) && subtle.ConstantTimeCompare([]byte(p.Secret), []byte(in.secret)) == 1
}

// take takes over what came: the connections, or those who get them.
func (in *inbox) take(p packet, fds []int) {
	for i, c := range p.Connections {
		c.FD = fds[i]
		in.front.Adopt(c)
	}
	if len(p.Connections) > 0 {
		return
	}
	if p.Logs != nil {
		in.reopen(p.Logs, fds)
		in.done(p.Order)
		return
	}
	var heirs []*net.UnixConn
	for _, fd := range fds {
		if c, err := packetConn(os.NewFile(uintptr(fd), fileInbox)); err == nil {
			heirs = append(heirs, c)
		}
	}
	in.mu.Lock()
	old := in.heirs
	in.heirs = heirs
	retiring := in.retiring
	in.mu.Unlock()
	for _, c := range old {
		c.Close()
	}
	if retiring {
		in.front.Retire(in.giver())
	}
	in.once.Do(func() { close(in.named) })
	in.done(p.Order)
}

// reopen puts new files in the places of the logs.
func (in *inbox) reopen(names []string, fds []int) {
	for i, name := range names {
		if f := in.logs[name]; f != nil {
			replaceFile(f, fds[i])
		}
		unix.Close(fds[i])
	}
}

// retire has the server give its connections to the heirs, as soon as these are
// named.
func (in *inbox) retire() {
	select {
	case <-in.named:
	case <-time.After(tellTimeout):
	}
	in.mu.Lock()
	in.retiring = true
	in.mu.Unlock()
	in.front.Retire(in.giver())
}

// giver is how connections are given away; nil: there is nobody.
func (in *inbox) giver() http1.Give {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.heirs) == 0 {
		return nil
	}
	return in.give
}

// give sends connections to one heir after the other. One at a time does, so that
// who is told of other heirs knows that nothing goes to the old ones any more.
func (in *inbox) give(all []http1.Parked) int {
	in.mu.Lock()
	defer in.mu.Unlock()
	var fds []int
	for _, p := range all {
		fds = append(fds, p.FD)
	}
	for range in.heirs {
		h := in.heirs[in.next%len(in.heirs)]
		in.next++
		h.SetWriteDeadline(time.Now().Add(tellTimeout))
		if sendPacket(h, packet{Connections: all}, fds...) == nil {
			return len(all)
		}
	}
	return 0
}
