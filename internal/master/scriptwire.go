package master

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"sluice/cgi"
)

// Scripts of another user than the worker's are started by the master. What the
// two say about that are JSON objects, one a packet, over a socket pair of each
// worker.

// scriptCall is what a worker asks for.
type scriptCall struct {
	Script uint64       `json:"script"` // the worker's number for the script, never used twice
	Start  *scriptStart `json:"start,omitempty"`
	Signal int          `json:"signal,omitempty"` // for the script's process group
}

// scriptStart comes with four descriptors: standard input, output and error, and
// a sealed memory file with the meta-variables, each ended by a NUL.
type scriptStart struct {
	Place int    `json:"place"`
	Path  []byte `json:"path,omitempty"` // below the place's folder
}

// startFiles is the number of descriptors of a start.
const startFiles = 4

// scriptNews is what the master says of a script: first its PID or an Error,
// then its End.
type scriptNews struct {
	Script uint64       `json:"script"`
	PID    int          `json:"pid,omitempty"`
	Error  *scriptError `json:"error,omitempty"`
	End    *cgi.Ending  `json:"end,omitempty"`
}

// scriptError is an error on its way to the worker, which has to tell some
// errnos from others.
type scriptError struct {
	Text  string        `json:"text"`
	Errno syscall.Errno `json:"errno,omitempty"`
}

// maxScriptError keeps the text of an error, as JSON, within a packet.
const maxScriptError = 1024

func newScriptError(err error) *scriptError {
	text := err.Error()
	e := &scriptError{Text: text[:min(len(text), maxScriptError)]}
	errors.As(err, &e.Errno)
	return e
}

func (e *scriptError) Error() string { return e.Text }

func (e *scriptError) Unwrap() error {
	if e.Errno == 0 {
		return nil
	}
	return e.Errno
}

// Bounds of a call.
const (
	maxScriptPath = unix.PathMax
	maxScriptCall = 2*maxScriptPath + 512 // as JSON
	maxScriptEnv  = 1 << 20
)

// packetPair returns the ends of a channel.
func packetPair(name string) (master *net.UnixConn, worker *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	worker = os.NewFile(uintptr(fds[1]), name)
	master, err = packetConn(os.NewFile(uintptr(fds[0]), name))
	if err != nil {
		worker.Close()
		return nil, nil, err
	}
	return master, worker, nil
}

// packetConn makes a connection of an end, which it closes.
func packetConn(f *os.File) (*net.UnixConn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("%s: not a unix socket", f.Name())
	}
	return u, nil
}

// sendPacket sends a message and descriptors.
func sendPacket(c *net.UnixConn, message any, fds ...int) error {
	b, err := json.Marshal(message)
	if err != nil {
		return err
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	_, _, err = c.WriteMsgUnix(b, rights, nil)
	return err
}

// errPacket is a packet that no worker sends.
var errPacket = errors.New("not a call for a script")

// receiveCall receives a call and its files, which are the caller's to close
// even if there is an error. It is io.EOF when the worker has gone, and
// errPacket for what cannot be understood.
func receiveCall(c *net.UnixConn) (call scriptCall, files []*os.File, err error) {
	b, oob := make([]byte, maxScriptCall), make([]byte, unix.CmsgSpace(startFiles*4))
	n, on, flags, _, err := c.ReadMsgUnix(b, oob)
	files = filesOf(oob[:on])
	switch {
	case err != nil:
		return call, files, err
	case n == 0:
		return call, files, io.EOF
	case flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0:
		return call, files, errPacket
	}
	if json.Unmarshal(b[:n], &call) != nil {
		return call, files, errPacket
	}
	return call, files, nil
}

// filesOf takes the descriptors out of a control message.
func filesOf(oob []byte) (files []*os.File) {
	for _, fd := range descriptorsOf(oob) {
		files = append(files, os.NewFile(uintptr(fd), "a worker's"))
	}
	return files
}

func descriptorsOf(oob []byte) (all []int) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for i := range messages {
		if fds, err := unix.ParseUnixRights(&messages[i]); err == nil {
			all = append(all, fds...)
		}
	}
	return all
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// envSeals keep a memory file from changing, and tell it from any other file: to
// read from one of those may never end.
const envSeals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

// writeEnv puts an environment into a sealed memory file.
func writeEnv(env []string) (*os.File, error) {
	size := 0
	for _, kv := range env {
		size += len(kv) + 1
	}
	if size > maxScriptEnv {
		return nil, &os.SyscallError{Syscall: fmt.Sprintf("environment of %d bytes", size), Err: syscall.E2BIG}
	}
	b := make([]byte, 0, size)
	for _, kv := range env {
		b = append(append(b, kv...), 0)
	}
	return sealed("environment", b)
}

// sealed is a memory file with a content that nobody can change any more.
func sealed(name string, content []byte) (*os.File, error) {
	fd, err := memoryFile(name)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err = f.Write(content); err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, envSeals)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// memoryFile makes a memory file that is not for execution: kernels from 6.3
// want to be told so, and those before do not know the word.
func memoryFile(name string) (int, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(name, flags|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL {
		fd, err = unix.MemfdCreate(name, flags)
	}
	return fd, err
}

// readEnv reads the environment in a file that somebody else made.
func readEnv(f *os.File) ([]string, error) {
	seals, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	if err != nil || seals&envSeals != envSeals {
		return nil, fmt.Errorf("the environment is not in a sealed memory file: %w", syscall.EINVAL)
	}
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if fi.Size() > maxScriptEnv {
		return nil, fmt.Errorf("environment of %d bytes, at most %d: %w", fi.Size(), maxScriptEnv, syscall.E2BIG)
	}
	b := make([]byte, fi.Size())
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, fi.Size()), b); err != nil {
		return nil, err
	}
	var env []string
	for kv := range bytes.SplitSeq(bytes.TrimSuffix(b, []byte{0}), []byte{0}) {
		env = append(env, string(kv))
	}
	if len(b) == 0 {
		return nil, nil
	}
	return env, nil
}
