package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stopWait is how long a server may take to stop before it is killed.
const stopWait = 5 * time.Second

// processes starts, remembers and ends the programs of a run. A watchdog
// process learns every process group first and kills them all if this program
// ends in any way without having stopped them; then it removes the folder too.
type processes struct {
	watchdog *exec.Cmd
	orders   io.WriteCloser // "+PGID" and "-PGID" lines to the watchdog
	running  []*process
}

// launch says what to start.
type launch struct {
	name   string
	dir    string // working directory, and place of the log
	argv   []string
	stdin  *os.File // descriptor 0; nil: the null device
	stdout *os.File // nil: the log
}

// process is a started program; its group has the id of its first process.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string // file that has its stdout and stderr
	done chan struct{}
}

// folderPrefix begins the name of a run's temporary folder.
const folderPrefix = "sluice-bench-"

func startProcesses(self, dir string) (*processes, error) {
	ps := &processes{}
	ps.watchdog = exec.Command(self, "-child", "watchdog", dir)
	ps.watchdog.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var err error
	if ps.orders, err = ps.watchdog.StdinPipe(); err != nil {
		return nil, err
	}
	return ps, ps.watchdog.Start()
}

// childEnv is the environment of every server, so that none inherits the user's.
var childEnv = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C"}

// start runs a program in a process group of its own.
func (ps *processes) start(l launch) (*process, error) {
	f, err := os.CreateTemp(l.dir, strings.ReplaceAll(l.name, " ", "-")+"-*.out")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p := &process{name: l.name, log: f.Name(), done: make(chan struct{})}
	p.cmd = exec.Command(l.argv[0], l.argv[1:]...)
	p.cmd.Dir, p.cmd.Env = l.dir, childEnv
	p.cmd.Stdout, p.cmd.Stderr = f, f
	if l.stdin != nil {
		p.cmd.Stdin = l.stdin
	}
	if l.stdout != nil {
		p.cmd.Stdout = l.stdout
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", l.name, err)
	}
	fmt.Fprintf(ps.orders, "+%d\n", p.pid())
	go func() {
		p.cmd.Wait()
		close(p.done)
	}()
	ps.running = append(ps.running, p)
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// sleep waits, and says whether the process is still alive and the run goes on.
func (p *process) sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-p.done:
		return false
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// tail is the end of what the process printed, on one line.
func (p *process) tail() string {
	text, _ := os.ReadFile(p.log)
	more, _ := os.ReadFile(filepath.Join(filepath.Dir(p.log), "error.log"))
	text = append(text, more...)
	text = text[max(0, len(text)-400):]
	return strings.Join(strings.Fields(string(text)), " ")
}

// stopAll ends every process: TERM to the first ones, KILL to their groups and
// to whatever descendants are left after stopWait.
func (ps *processes) stopAll() {
	var family []member
	table := readTable()
	for _, p := range ps.running {
		family = append(family, table.descendants(p.pid())...)
		select {
		case <-p.done: // its id may belong to another process by now
		default:
			p.cmd.Process.Signal(syscall.SIGTERM)
		}
	}
	deadline := time.After(stopWait)
	for _, p := range ps.running {
		select {
		case <-p.done:
		case <-deadline:
			deadline = time.After(0)
			syscall.Kill(-p.pid(), syscall.SIGKILL)
			<-p.done
		}
	}
	for _, m := range family {
		if m.alive() {
			syscall.Kill(m.pid, syscall.SIGKILL)
		}
	}
	for _, p := range ps.running {
		fmt.Fprintf(ps.orders, "-%d\n", p.pid())
	}
	ps.running = nil
}

// close stops everything and the watchdog.
func (ps *processes) close() {
	ps.stopAll()
	ps.orders.Close()
	ps.watchdog.Wait()
}

// watchdogMain kills the groups it was told of, and removes the run's folder,
// when its input ends.
func watchdogMain(orders io.Reader, args []string) error {
	if len(args) != 1 || !strings.HasPrefix(filepath.Base(args[0]), folderPrefix) {
		return fmt.Errorf("watchdog: bad folder %q", args)
	}
	groups := map[int]bool{}
	lines := bufio.NewScanner(orders)
	for lines.Scan() {
		line := lines.Text()
		id, err := strconv.Atoi(strings.TrimLeft(line, "+-"))
		if err != nil || id < 2 {
			return fmt.Errorf("watchdog: bad order %q", line)
		}
		if line[0] == '+' {
			groups[id] = true
		} else {
			delete(groups, id)
		}
	}
	for id := range groups {
		for _, m := range readTable().descendants(id) {
			syscall.Kill(m.pid, syscall.SIGKILL)
		}
		syscall.Kill(-id, syscall.SIGKILL)
	}
	return errors.Join(lines.Err(), os.RemoveAll(args[0]))
}

// lookPath finds the first of the programs, also where root's programs are.
func lookPath(names ...string) (string, error) {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
		if path, err := exec.LookPath("/usr/sbin/" + name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: %w", names[0], errNotInstalled)
}

var errNotInstalled = errors.New("not installed")

// blocking makes a descriptor wait in the kernel, as FastCGI programs expect of
// descriptor 0.
func blocking(f *os.File) error {
	if f == nil {
		return nil
	}
	return syscall.SetNonblock(int(f.Fd()), false)
}
