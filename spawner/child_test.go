package spawner

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sluice/cgi"
)

// childModes are the programs that the tests start. Standard input is the
// listening socket. One that serves answers each connection with its pid.
var childModes map[string]func()

func init() {
	childModes = map[string]func(){
		"accept": func() {
			for {
				serveOne()
			}
		},
		"once":   serveOne,
		"wait":   func() { syscall.Pause() },
		"exit3":  func() { fmt.Fprintln(os.Stderr, "one\ntwo\nthree\nfour"); syscall.Exit(3) },
		"poll":   func() { childWait(func() { unix.Poll([]unix.PollFd{{Fd: 0, Events: unix.POLLIN}}, -1) }) },
		"select": childSelect,
		"epoll":  childNet,
		"parent": childParent,
		"deaf": func() {
			signal.Ignore(syscall.SIGTERM)
			childSpawn("grandchild")
			childModes["accept"]()
		},
		"grandchild": func() { signal.Ignore(syscall.SIGTERM); time.Sleep(time.Minute) },
		// shutdown answers once and takes the socket away from all.
		"shutdown": func() {
			serveOne()
			unix.Shutdown(0, unix.SHUT_RDWR)
			syscall.Exit(0)
		},
		// hog has much memory after its first answer, and so has its child.
		"hog": func() {
			childSpawn("hogling")
			childModes["hogling"]()
		},
		"hogling": func() {
			serveOne()
			b := make([]byte, 40<<20)
			for i := range b {
				b[i] = 1
			}
			for {
				serveOne()
				runtime.KeepAlive(b)
			}
		},
		// escape leaves somebody behind who is in no group of its.
		"escape": func() {
			pid, err := syscall.ForkExec("/proc/self/exe", []string{"child"}, &syscall.ProcAttr{
				Env: []string{modeVariable + "=grandchild", quick}, Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setsid: true}})
			if err != nil {
				panic(err)
			}
			fmt.Println("grandchild", pid)
			childModes["accept"]()
		},
		"slowexit": func() {
			c := make(chan os.Signal, 1)
			signal.Notify(c, syscall.SIGTERM)
			<-c
			time.Sleep(300 * time.Millisecond)
			fmt.Println("goodbye")
		},
		"tell":         childTell,
		"orphan":       func() { childSpawn("brief") },
		"brief":        func() { time.Sleep(100 * time.Millisecond) },
		"doomed":       childDoomed,
		"assume":       childAssume,
		"doomedscript": func() { childDoomedScript(&Scripts{}) },
		"doomedown":    func() { s := &Scripts{}; s.Own(defaultUmask); childDoomedScript(s) },
		"own":          childOwn,
		"fork":         childFork,
		"cgroups":      childCgroups,
		"subreap":      childSubreap,
		"hungread":     func() { var p [2]int; syscall.Pipe(p[:]); syscall.Read(p[0], make([]byte, 1)) },
	}
}

func serveOne() {
	fd, _, err := syscall.Accept(0)
	if err != nil {
		return
	}
	b := make([]byte, 64)
	n, _ := syscall.Read(fd, b)
	fmt.Printf("request %s\n", strings.TrimSpace(string(b[:n])))
	syscall.Write(fd, []byte(strconv.Itoa(os.Getpid())))
	syscall.Close(fd)
}

func childWait(wait func()) {
	for {
		wait()
		serveOne()
	}
}

func childSelect() {
	childWait(func() {
		var set unix.FdSet
		set.Set(0)
		unix.Select(1, &set, nil, nil, nil)
	})
}

// childNet is a program of the runtime's poller, as Go programs are.
func childNet() {
	l, err := net.FileListener(os.Stdin)
	if err != nil {
		os.Exit(1)
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		c.Read(make([]byte, 64))
		fmt.Fprint(c, os.Getpid())
		c.Close()
	}
}

func childSpawn(mode string) int {
	pid, err := syscall.ForkExec("/proc/self/exe", []string{"child"}, &syscall.ProcAttr{
		Env: []string{modeVariable + "=" + mode, quick}, Files: []uintptr{0, 1, 2}})
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s %d\n", mode, pid)
	return pid
}

// childParent is what PHP_FCGI_CHILDREN makes: the parent waits, its children
// accept.
func childParent() {
	for range 2 {
		childSpawn("accept")
	}
	for {
		var ws syscall.WaitStatus
		if _, err := syscall.Wait4(-1, &ws, 0, nil); err != nil && err != syscall.EINTR {
			return
		}
	}
}

// childTell says what it was given.
func childTell() {
	fds, _ := os.ReadDir("/proc/self/fd")
	for _, e := range fds {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.HasPrefix(to, "/proc/") && !strings.HasPrefix(to, "anon_inode:") && !strings.HasPrefix(to, "/sys/") {
			fmt.Println("fd", e.Name(), map[bool]string{true: to}[e.Name() > "2"])
		}
	}
	for _, e := range os.Environ() {
		fmt.Println("env", e)
	}
	wd, _ := os.Getwd()
	fmt.Println("cwd", wd)
	fmt.Printf("umask %04o\n", syscall.Umask(0))
	fmt.Println("ids", os.Getuid(), os.Geteuid(), os.Getgid(), os.Getegid())
	groups, _ := os.Getgroups()
	fmt.Println("groups", groups)
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "NoNewPrivs") {
			fmt.Println(strings.Join(strings.Fields(line), " "))
		}
	}
	fl, _ := unix.FcntlInt(0, unix.F_GETFL, 0)
	fmt.Println("nonblocking", fl&unix.O_NONBLOCK != 0)
	fmt.Println("pgrp", os.Getpid() == syscall.Getpgrp())
	fmt.Println("end")
}

// childDoomed supervises a child, says its pid, and waits to be killed.
func childDoomed() {
	os.Unsetenv(modeVariable)
	f := &Forker{Reaper: NewReaper(), Do: func(fn func()) { fn() }} // the main thread
	p := Program{Command: []string{"/bin/sleep", "60"}, Dir: "/"}
	if uid, err := strconv.Atoi(os.Getenv(orderVariable)); err == nil {
		p.As = &Identity{UID: uid, GID: uid}
	}
	c, err := f.Start(p, os.Stdin, os.Stderr)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("child", c.PID())
	syscall.Pause()
}

// childAssume takes on the identity that it has.
func childAssume() {
	id := &Identity{UID: os.Getuid(), GID: os.Getgid()}
	fmt.Println("assume", id.assume())
	id.UID++
	fmt.Println("other", id.assume() != nil)
}

// forkOrder is what childFork does, as JSON in a variable.
type forkOrder struct {
	Program Program
	Files   int64     // its own hard limit before
	As      *Identity // who it becomes before
}

const orderVariable = "SPAWNER_TEST_ORDER"

// childFork starts a program behind the shim and says how that went.
func childFork() {
	var o forkOrder
	if err := json.Unmarshal([]byte(os.Getenv(orderVariable)), &o); err != nil {
		panic(err)
	}
	if err := (Rlimits{Files: o.Files}).apply(0); err != nil {
		panic(err)
	}
	if o.As != nil {
		if err := o.As.assume(); err != nil {
			panic(err)
		}
	}
	r := NewReaper()
	c, err := (&Forker{Reaper: r}).Start(o.Program, os.Stdin, os.Stdout)
	if err != nil {
		fmt.Println("error:", err)
		return
	}
	<-c.Done()
	fmt.Println(c.Ending())
}

// childSubreap makes an orphan and says whether a Reaper took it, and left
// another's status to its owner.
func childSubreap() {
	if err := Subreaper(); err != nil {
		fmt.Println(err)
		return
	}
	r := NewReaper()
	c, err := r.Fork("/proc/self/exe", []string{"child"}, &syscall.ProcAttr{
		Env: []string{modeVariable + "=orphan", quick}, Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setpgid: true}})
	if err != nil {
		fmt.Println(err)
		return
	}
	<-c.Done()
	fmt.Println("owned", c.Ending())
	for range 500 {
		if err := syscall.Kill(-c.PID(), 0); err == syscall.ESRCH { // the orphan is in its group
			fmt.Println("orphan reaped")
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	fmt.Println("orphan left")
}

// childDoomedScript starts a script and says which one.
func childDoomedScript(s *Scripts) {
	p, err := s.Start(cgi.Command{Path: "/bin/sleep", Args: []string{"sleep", "60"}, Dir: "/"}, os.Stdin, os.Stderr, os.Stderr)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("script", p.PID())
	syscall.Pause()
}

// childOwn is a process that Own has made one for scripts. It says what its own
// scripts and others have of it.
func childOwn() {
	var s Scripts
	s.Own(0o027)
	var wg sync.WaitGroup
	for _, mask := range []int{0o027, 0o077} {
		for range 20 {
			wg.Go(func() {
				p, err := s.With(ScriptOptions{Umask: mask}).Start(sh(fmt.Sprintf("echo %04o $(umask) $(grep NoNew /proc/self/status)", mask)),
					os.Stdin, os.Stdout, os.Stdout)
				if err != nil {
					fmt.Println(err)
					return
				}
				<-p.Done()
			})
		}
	}
	for range 20 { // as where the mask of a thread cannot be its own
		wg.Go(func() {
			pid, err := withSharedUmask(forkCall{umask: 0, fork: func() (int, error) {
				return syscall.ForkExec("/bin/sh", []string{"sh", "-c", "echo shared $(umask)"}, &syscall.ProcAttr{Files: []uintptr{0, 1, 2}})
			}})
			if err != nil {
				fmt.Println(err)
				return
			}
			reap(pid)
		})
	}
	wg.Wait()
	b, _ := os.ReadFile("/proc/self/status")
	for l := range strings.Lines(string(b)) {
		if mask, ok := strings.CutPrefix(l, "SigCgt:"); ok {
			caught, _ := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			fmt.Println("SIGCHLD caught:", caught>>(syscall.SIGCHLD-1)&1)
		}
	}
	if _, err := s.With(ScriptOptions{Umask: 0o027}).Start(cgi.Command{Path: "/no/such", Dir: "/"}, os.Stdin, os.Stdout, os.Stdout); err != nil {
		fmt.Println(err)
	}
	s.Stop(0)
}
