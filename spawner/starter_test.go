package spawner

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/cgi"
)

// saidBy starts a program by a Starter and returns what it prints, and how it
// ended.
func saidBy(t *testing.T, st cgi.Starter, cmd cgi.Command) (string, cgi.Ending) {
	t.Helper()
	null, err := os.Open(os.DevNull)
	must(t, err)
	defer null.Close()
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	p, err := st.Start(cmd, null, w, w)
	w.Close()
	must(t, err)
	b, err := io.ReadAll(r)
	must(t, err)
	<-p.Done()
	return string(b), p.Ending()
}

func sh(text string) cgi.Command {
	return cgi.Command{Path: "/bin/sh", Args: []string{"sh", "-c", text}, Dir: "/", Env: []string{"PATH=/usr/bin:/bin"}}
}

// Every app has its own umask, also when scripts of several start at once, and
// the process keeps the one it has.
func TestScriptUmask(t *testing.T) {
	var s Scripts
	before := syscall.Umask(0o031)
	defer syscall.Umask(before)
	var wg sync.WaitGroup
	for i := range 64 {
		mask := []int{0, 0o022, 0o077, 0o027}[i%4]
		wg.Go(func() {
			if got, _ := saidBy(t, s.With(ScriptOptions{Umask: mask}), sh("umask")); got != fmt.Sprintf("%04o\n", mask) {
				t.Errorf("umask %q, want %04o", got, mask)
			}
		})
	}
	wg.Wait()
	if now := syscall.Umask(0o031); now != 0o031 {
		t.Errorf("the umask of the process became %04o", now)
	}
	// Where the mask of a thread cannot be its own.
	shared := func(umask int) (out string) {
		r, w, err := os.Pipe()
		must(t, err)
		defer r.Close()
		pid, err := withSharedUmask(forkCall{umask: umask, fork: func() (int, error) {
			return syscall.ForkExec("/bin/sh", []string{"sh", "-c", "umask"}, &syscall.ProcAttr{Files: []uintptr{0, w.Fd(), 2}})
		}})
		w.Close()
		must(t, err)
		b, err := io.ReadAll(r)
		must(t, err)
		reap(pid)
		return string(b)
	}
	if got := shared(0o077); got != "0077\n" {
		t.Errorf("shared: %q", got)
	}
	if now := syscall.Umask(0o031); now != 0o031 {
		t.Errorf("the umask of the process became %04o", now)
	}
}

// Scripts that any thread starts have what others have.
func TestScriptOwn(t *testing.T) {
	r := NewReaper()
	defer r.Close()
	out, w, err := os.Pipe()
	must(t, err)
	defer out.Close()
	null, err := os.Open(os.DevNull)
	must(t, err)
	defer null.Close()
	c, err := r.Fork("/proc/self/exe", []string{"own"}, &syscall.ProcAttr{Env: []string{modeVariable + "=own", quick, "PATH=/usr/bin:/bin"},
		Files: []uintptr{null.Fd(), w.Fd(), w.Fd()}, Sys: &syscall.SysProcAttr{Setpgid: true}})
	w.Close()
	must(t, err)
	b, err := io.ReadAll(out)
	must(t, err)
	<-c.Done()
	said := map[string]int{}
	for l := range strings.Lines(string(b)) {
		said[strings.TrimSpace(l)]++
	}
	want := map[string]int{"0027 0027 NoNewPrivs: 1": 20, "0077 0077 NoNewPrivs: 1": 20, "shared 0000": 20, "SIGCHLD caught: 0": 1, "exec /no/such: no such file or directory": 1}
	if !maps.Equal(said, want) {
		t.Errorf("%v, want %v", said, want)
	}
}

// A script whose end nobody waits for is a zombie until somebody asks, in either
// way, and its status is taken once.
func TestScriptEndIsAskedFor(t *testing.T) {
	var s Scripts
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	must(t, err)
	defer null.Close()
	start := func(text string) cgi.Process {
		p, err := s.Start(sh(text), null, null, null)
		must(t, err)
		return p
	}
	looked := start("exit 3")
	eventually(t, 5*time.Second, "a script ends", looked.(*scriptProcess).Ended)
	if e := looked.Ending(); e.Status != 3 {
		t.Error(e)
	}
	if err := looked.Signal(syscall.SIGKILL); err != syscall.ESRCH {
		t.Errorf("signal to a pid that may be another's: %v", err)
	}
	<-looked.Done()
	// Many ask at once, in both ways, before and after.
	for i := range 50 {
		p := start(fmt.Sprintf("exit %d", i))
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { <-p.Done() })
			wg.Go(func() {
				for !p.(*scriptProcess).Ended() {
					time.Sleep(time.Millisecond)
				}
			})
		}
		wg.Wait()
		if e := p.Ending(); e.Status != i {
			t.Errorf("%d: %v", i, e)
		}
	}
	// What nobody asked for is Stop's, zombie or not.
	ended, runs := start("exit 4"), start("exec sleep 60")
	eventually(t, 5*time.Second, "it is a zombie", func() bool { return zombie(ended.PID()) && !gone(ended.PID()) })
	s.Stop(5 * time.Second)
	if e := ended.Ending(); e.Status != 4 {
		t.Error(e)
	}
	if e := runs.Ending(); e.Signal != syscall.SIGTERM {
		t.Error(e)
	}
	if !gone(ended.PID()) || !gone(runs.PID()) {
		t.Error("a zombie is left")
	}
	if _, err := s.Start(sh("exit 0"), null, null, null); !errors.Is(err, ErrStopped) {
		t.Error(err)
	}
}

const limitsScript = "ulimit -n; ulimit -Hn; ulimit -t; ulimit -v; grep NoNewPrivs /proc/self/status; id -u; id -g; id -G"

// limitsSettled is limitsScript after the limits have certainly been set.
const limitsSettled = "sleep 0.2; " + limitsScript

func TestScriptLimits(t *testing.T) {
	var s Scripts
	o := ScriptOptions{Rlimits: Rlimits{Files: 200, CPU: 90 * time.Second, Memory: 3 << 30, Processes: 900}}
	want := fmt.Sprintf("200\n200\n90\n3145728\nNoNewPrivs:\t1\n%d\n", os.Getuid())
	if got, _ := saidBy(t, s.With(o), sh(limitsSettled)); !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if e := (Rlimits{Files: 1 << 40}).apply(0); e == nil {
		t.Fatal("a limit beyond fs.nr_open is accepted")
	}
	o.Rlimits = Rlimits{Files: 1 << 40}
	_, err := s.With(o).Start(sh("exit 0"), os.Stdin, os.Stdout, os.Stderr)
	if err == nil || !strings.Contains(err.Error(), "RLIMIT_NOFILE") || errors.Is(err, os.ErrPermission) {
		t.Errorf("a limit that cannot be set: %v", err)
	}
	r := NewReaper()
	defer r.Close()
	reaped := Scripts{Reaper: r}
	if _, err := reaped.With(o).Start(sh("exit 0"), os.Stdin, os.Stdout, os.Stderr); err == nil {
		t.Error("with a reaper, a limit that cannot be set is passed over")
	}
	reaped.Stop(0)
	s.Stop(0)
}

// As another user, both ways.
func TestScriptIdentity(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("not root: the change of identity is not tested")
	}
	var s Scripts
	o := ScriptOptions{Umask: 0o027, As: &Identity{UID: 4211, GID: 4212, Groups: []int{4213}}, Rlimits: Rlimits{Files: 200}}
	for _, shim := range []bool{false, true} {
		st := s.With(o).(*appScripts)
		if !shim && !mayLimitOthers() {
			st.opt.Rlimits = Rlimits{}
		}
		st.shim = shim
		got, _ := saidBy(t, st, sh("id -u; id -g; id -G; umask; grep NoNewPrivs /proc/self/status; pwd; sleep 0.1; ulimit -n; env; ls /proc/self/fd | wc -l"))
		want := "4211\n4212\n4212 4213\n0027\nNoNewPrivs:\t1\n/\n200\n"
		if st.opt.Rlimits.Files == 0 {
			got = strings.Replace(got, "/\n"+strings.Split(got, "\n")[6]+"\n", "/\n200\n", 1)
		}
		if !strings.HasPrefix(got, want) || strings.Contains(got, shimVariable) || !strings.HasSuffix(got, "\n4\n") {
			t.Errorf("shim %v:\n%s\nwant\n%s", shim, got, want)
		}
		closed := t.TempDir()
		must(t, os.Chmod(closed, 0o700))
		for name, c := range map[string]struct {
			cmd  cgi.Command
			want error
		}{
			"missing":        {cgi.Command{Path: "/no/such", Args: []string{"x"}, Dir: "/"}, syscall.ENOENT},
			"not executable": {cgi.Command{Path: "/etc/passwd", Args: []string{"x"}, Dir: "/"}, syscall.EACCES},
			"closed folder":  {cgi.Command{Path: "/bin/true", Args: []string{"x"}, Dir: closed}, syscall.EACCES},
		} {
			if _, err := st.Start(c.cmd, os.Stdin, os.Stdout, os.Stderr); !errors.Is(err, c.want) {
				t.Errorf("shim %v, %s: %v, want %v", shim, name, err, c.want)
			}
		}
	}
	s.Stop(0)
}

// A script ends with the process that started it, whatever kills that.
func TestScriptOfKilledParent(t *testing.T) {
	for _, mode := range []string{"doomedscript", "doomedown"} {
		t.Run(mode, func(t *testing.T) { testScriptOfKilledParent(t, mode) })
	}
}

func testScriptOfKilledParent(t *testing.T, mode string) {
	r := NewReaper()
	defer r.Close()
	out, w, err := os.Pipe()
	must(t, err)
	defer out.Close()
	null, err := os.Open(os.DevNull)
	must(t, err)
	defer null.Close()
	parent, err := r.Fork("/proc/self/exe", []string{"doomed"}, &syscall.ProcAttr{
		Env: []string{modeVariable + "=" + mode, quick}, Files: []uintptr{null.Fd(), w.Fd(), w.Fd()}, Sys: &syscall.SysProcAttr{Setpgid: true}})
	w.Close()
	must(t, err)
	var pid int
	if _, err := fmt.Fscanf(out, "script %d\n", &pid); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	if gone(pid) {
		t.Fatal("the script does not run")
	}
	must(t, syscall.Kill(parent.PID(), syscall.SIGKILL))
	<-parent.Done()
	eventually(t, 2*time.Second, "the script is gone", func() bool { return zombie(pid) })
}

// Each script is stopped by its app's signal.
func TestScriptsStopSignals(t *testing.T) {
	for _, reaped := range []bool{false, true} {
		var s Scripts
		if reaped {
			s.Reaper = NewReaper()
			defer s.Reaper.Close()
		}
		null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		must(t, err)
		var all []cgi.Process
		signals := []syscall.Signal{0, syscall.SIGUSR1, syscall.SIGQUIT}
		for _, sig := range signals {
			p, err := s.With(ScriptOptions{Stop: sig}).Start(sh("exec sleep 60"), null, null, null)
			must(t, err)
			all = append(all, p)
		}
		time.Sleep(20 * time.Millisecond) // so that sh is sleep
		s.Stop(5 * time.Second)
		for i, p := range all {
			want := signals[i]
			if want == 0 {
				want = syscall.SIGTERM
			}
			if e := p.Ending(); e.Signal != want {
				t.Errorf("with a reaper %v: %v, want %v", reaped, e, want)
			}
		}
		null.Close()
	}
}

// What a script leaves running goes on, with a reaper, too; a script that was
// told to end takes its group with it.
func TestScriptsWithReaper(t *testing.T) {
	r := NewReaper()
	defer r.Close()
	s := Scripts{Reaper: r}
	defer s.Stop(0)
	out, end := saidBy(t, &s, sh("sleep 0.2 >/dev/null 2>&1 & echo $!; exit 3"))
	var pid int
	if _, err := fmt.Sscan(out, &pid); err != nil || end.Status != 3 {
		t.Fatal(out, end)
	}
	if gone(pid) {
		t.Error("what the script left running was killed")
	}
	eventually(t, 5*time.Second, "it ends by itself", func() bool { return zombie(pid) })
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			if _, e := saidBy(t, &s, sh(fmt.Sprintf("exit %d", i))); e.Status != i || e.Signal != 0 {
				t.Errorf("%d: %+v", i, e)
			}
		})
	}
	wg.Wait()
}
