package tune

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/template"
	"time"

	"golang.org/x/sys/unix"

	"sluice/internal/scoreboard"
)

// server is a sluice under test. It has a folder of its own.
type server struct {
	cmd     *exec.Cmd
	address string
	board   *scoreboard.Board
	memory  []byte        // of the board
	ready   chan struct{} // closed when it has said so
	done    chan struct{} // closed when it has ended, and last is complete
	last    string        // the last line that it printed
}

// What the clients ask for, and how large an answer is.
const (
	path       = "/answer.txt"
	answerSize = 512
)

// bodyBytes is the limit that the uploads of the load Early exceed.
const bodyBytes = 64 << 10

var configText = template.Must(template.New("").Parse(`listen = [{{printf "%q" .Address}}]
workers = {{.Workers}}
runtime = {{printf "%q" .Runtime}}
watch = false
stop_timeout = "1s"

[accept]
mode = {{printf "%q" .Accept}}
{{if .Permits}}permits = {{.Permits}}
{{end}}{{if .Linger}}
[linger]
mode = {{printf "%q" .Linger}}
{{end}}
[limits]
body_bytes = "{{.BodyBytes}}B"

[log]
level = "error"

[status]
scoreboard = {{printf "%q" .Board}}

[[site]]
root = {{printf "%q" .Root}}
`))

// configure writes the configuration of a server into its folder.
func configure(dir string, s Setting, address string) (file, board string, err error) {
	root := filepath.Join(dir, "www")
	file, board = filepath.Join(dir, "sluice.toml"), filepath.Join(dir, "board")
	var b strings.Builder
	err = configText.Execute(&b, struct {
		Setting
		Address, Runtime, Board, Root string
		BodyBytes                     int
	}{s, address, filepath.Join(dir, "run"), board, root, bodyBytes})
	return file, board, errors.Join(err,
		os.Mkdir(root, 0o755),
		os.WriteFile(filepath.Join(root, path), slices.Repeat([]byte("sluice\r\n"), answerSize/8), 0o644),
		os.WriteFile(file, []byte(b.String()), 0o644))
}

// Bounds of a server.
const (
	startWait = 15 * time.Second
	stopWait  = 3 * time.Second // more than its stop_timeout
)

// exitBind is the exit status of a server whose address is taken.
const exitBind = 3

// startServer starts a server in a new folder below dir and waits until it is
// ready. The error is what the server said, without the place in its file.
func (r *run) startServer(ctx context.Context, dir string, s Setting) (*server, error) {
	const tries = 3 // until a free port has not been taken meanwhile
	for try := 1; ; try++ {
		srv, err := r.tryServer(ctx, dir, s)
		if err == nil || ctx.Err() != nil {
			return srv, err
		}
		if srv == nil || srv.cmd.ProcessState == nil || srv.cmd.ProcessState.ExitCode() != exitBind || try == tries {
			return nil, err
		}
	}
}

func (r *run) tryServer(ctx context.Context, dir string, s Setting) (*server, error) {
	dir, err := os.MkdirTemp(dir, "")
	if err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	file, board, err := configure(dir, s, address)
	if err != nil {
		return nil, err
	}
	srv := &server{cmd: exec.Command(r.Executable, "serve", "-c", file), address: address,
		ready: make(chan struct{}), done: make(chan struct{})}
	if err := r.launch(srv.cmd, syscall.SIGTERM, srv.listen); err != nil {
		return nil, err
	}
	if err := srv.wait(ctx); err != nil {
		srv.stop()
		if reason, ok := strings.CutPrefix(srv.last, file+":"); ok {
			// LINE:COLUMN: MESSAGE
			if _, message, ok := strings.Cut(reason, ": "); ok {
				return srv, errors.New(message)
			}
		}
		return srv, fmt.Errorf("%w: %s", err, srv.last)
	}
	if err := srv.openBoard(board); err != nil {
		srv.stop()
		return srv, err
	}
	return srv, nil
}

// listen takes in what the server prints, until its end.
func (s *server) listen(stderr *os.File) {
	said := false
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		if s.last = lines.Text(); s.last == "sluice: ready" && !said {
			said = true
			close(s.ready)
		}
	}
	stderr.Close()
	s.cmd.Wait()
	close(s.done)
}

// wait waits until the server is ready.
func (s *server) wait(ctx context.Context) error {
	select {
	case <-s.ready:
		return nil
	case <-s.done:
		return errors.New("it does not start")
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(startWait):
		return fmt.Errorf("not ready after %v", startWait)
	}
}

// stop ends the server: in order, at once, by force.
func (s *server) stop() {
	if s.memory != nil {
		unix.Munmap(s.memory)
		s.memory = nil
	}
	for _, end := range []func(){
		func() { s.cmd.Process.Signal(syscall.SIGTERM) },
		func() { s.cmd.Process.Signal(syscall.SIGTERM) },
		func() { syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) },
	} {
		end()
		select {
		case <-s.done:
			return
		case <-time.After(stopWait):
		}
	}
	<-s.done
}

// openBoard maps the server's scoreboard, so that to look at it costs the server
// nothing.
func (s *server) openBoard(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("scoreboard: %w", err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err == nil {
		s.memory, err = unix.Mmap(int(f.Fd()), 0, int(fi.Size()), unix.PROT_READ, unix.MAP_SHARED)
	}
	if err == nil {
		s.board, err = scoreboard.Open(s.memory)
	}
	return err
}

// state is what the server has done so far.
type state struct {
	workers []scoreboard.Worker
	cpu     time.Duration // of master and workers
}

func (s *server) state() (state, error) {
	snap, err := s.board.Snapshot()
	if err != nil {
		return state{}, err
	}
	st := state{workers: snap.Workers}
	if st.cpu, err = cpuOf(s.cmd.Process.Pid); err != nil {
		return st, err
	}
	for _, w := range st.workers {
		d, err := cpuOf(w.PID)
		if err != nil {
			return st, err
		}
		st.cpu += d
	}
	return st, nil
}

// cpuOf is the CPU time that a process has used, all its threads, to the
// nanosecond: /proc has it in ticks of 10 ms only. The clock's number is that of
// clock_getcpuclockid(3).
func cpuOf(pid int) (time.Duration, error) {
	const processClock = 2 // CPUCLOCK_SCHED
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|processClock), &ts); err != nil {
		return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// freeAddress is one on which nobody listens at the moment.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
