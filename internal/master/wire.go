package master

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sluice/internal/config"
	"sluice/internal/front"
	"sluice/spawner"
)

// message is what master and worker say to each other: one JSON object a line,
// over a socket pair. One field is set.
type message struct {
	// To the worker.
	Setup  *setup         `json:"setup,omitempty"`
	Event  *spawner.Event `json:"event,omitempty"`
	Stop   *stop          `json:"stop,omitempty"`
	Accept bool           `json:"accept,omitempty"` // begin to accept
	Yield  bool           `json:"yield,omitempty"`  // keep no connections to children any more
	Drain  *drain         `json:"drain,omitempty"`
	// Order is the number of one of the last three, beside it: its end is confirmed.
	Order uint64 `json:"order,omitempty"`

	// To the master.
	Ready  bool            `json:"ready,omitempty"`
	Failed string          `json:"failed,omitempty"`
	Done   uint64          `json:"done,omitempty"` // the order
	Report *spawner.Report `json:"report,omitempty"`
	Slow   *front.Slow     `json:"slow,omitempty"`
}

// setup is the first message to a worker.
type setup struct {
	Version string          `json:"version"`
	Config  *config.Config  `json:"config"`
	Index   int             `json:"index"` // what the generation shares knows the worker by that
	Place   int             `json:"place"` // likewise what all generations share
	Sockets string          `json:"sockets"`
	Files   []string        `json:"files"` // what the descriptors from firstInherited on are
	Events  []spawner.Event `json:"events"`
	Apart   []string        `json:"apart"` // apps whose scripts the master starts
	// Labels are what the sockets of an app's children are called.
	Labels map[string]string       `json:"labels"`
	Secret string                  `json:"secret"` // of the master's packets
	Rooms  map[string]spawner.Room `json:"rooms"`  // of the ledgers
}

// What an inherited descriptor is.
const (
	fileListener   = "listener"
	fileErrorLog   = "error log"
	fileAccessLog  = "access log"
	fileScoreboard = "scoreboard"
	fileScripts    = "scripts"     // a worker's own
	fileAcceptLock = "accept lock" // a worker's own
)

// drain ends a worker in whose place others have begun: it accepts no more, gives
// them what idles, and finishes the rest. That is confirmed when nothing more is
// accepted, and what idled has been given away.
type drain struct {
	Timeout time.Duration `json:"timeout"` // 0: no limit
	// Going are the listeners, by their index, that nobody has any more: what waits
	// there is accepted first. Settle is for how long somebody may still come.
	Going  []int         `json:"going,omitempty"`
	Settle time.Duration `json:"settle,omitempty"`
}

// stop ends a worker: it finishes what it has, for at most Timeout.
type stop struct {
	Timeout time.Duration `json:"timeout"` // 0: no limit; below: at once
}

const (
	controlFD      = 3
	firstInherited = 4
	workerVariable = "SLUICE_WORKER"
)

// wire is one end of the socket pair.
type wire struct {
	f   *os.File
	mu  sync.Mutex
	enc *json.Encoder
	in  *bufio.Reader
	// most is the longest message that is taken in, in bytes; 0: any.
	most int
	part []byte // of a message whose rest has not come
	gate gate
}

// maxWord is the longest message of a worker: one that says more would have its
// master keep it. The longest in order is a slow request's target, as JSON.
const maxWord = 256 << 10

func newWire(f *os.File) *wire {
	return &wire{f: f, enc: json.NewEncoder(f), in: bufio.NewReader(f)}
}

// wirePair returns a socket pair whose ends can wait without a thread.
func wirePair() (master, worker *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(fds[0]), "control"), os.NewFile(uintptr(fds[1]), "control"), nil
}

func (w *wire) send(m message) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.enc.Encode(m)
}

// receive calls f for each message until the other end is gone: that it had not
// read everything makes its end a reset.
func (w *wire) receive(f func(message)) error {
	defer w.gate.left()
	for {
		line, err := w.line()
		if w.gate.passes(err) {
			w.f.SetReadDeadline(time.Time{})
			continue
		}
		if err == io.EOF || errors.Is(err, syscall.ECONNRESET) {
			return nil
		}
		if err != nil {
			return err
		}
		var m message
		if err := json.Unmarshal(line, &m); err != nil {
			return err
		}
		f(m)
	}
}

// line reads a message. What has come of one that is not complete stays for the next
// call.
func (w *wire) line() ([]byte, error) {
	for {
		part, err := w.in.ReadSlice('\n')
		w.part = append(w.part, part...)
		switch {
		case w.most > 0 && len(w.part) > w.most:
			return nil, fmt.Errorf("a message of more than %d bytes", w.most)
		case err == bufio.ErrBufferFull:
		case err != nil:
			return nil, err
		default:
			line := w.part
			w.part = nil
			return line, nil
		}
	}
}

// hold has nothing taken in until release: what comes waits in the socket, and part
// is what has come of a message.
func (w *wire) hold() {
	w.gate.shut()
	w.f.SetReadDeadline(time.Unix(1, 0))
}

func (w *wire) release() { w.gate.open() }

func (w *wire) close() { w.f.Close() }
