package master

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/cgi"
	"sluice/internal/assemble"
	"sluice/spawner"
)

// The worker's half with the master's.
func TestRemoteScripts(t *testing.T) {
	r := newDeskRig(t)
	remote := newRemoteScripts(r.conn, assemble.Names(r.config))
	st := remote.For(r.config.Apps[0])
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	must(t, err)
	defer null.Close()
	start := func(file, folder string, place int, env ...string) (cgi.Process, error) {
		return st.Start(cgi.Command{Path: file, Script: file, Folder: folder, Place: place, Env: env}, null, null, null)
	}
	folder := r.dir + "/scripts/"
	p, err := start(folder+"env.cgi", folder, inFolder, "QUERY_STRING=", "PATH=/bin", "OVER=x", "GITWEB_CONFIG=/x")
	must(t, err)
	<-p.Done()
	if !p.Ending().OK() || p.PID() == 0 {
		t.Errorf("%d: %v", p.PID(), p.Ending())
	}
	if err := p.Signal(syscall.SIGKILL); err != syscall.ESRCH {
		t.Errorf("a signal after the end: %v", err)
	}
	if _, err := start(r.dir+"/one.cgi", "", oneScript); err != nil {
		t.Error(err)
	}
	for want, f := range map[error]func() (cgi.Process, error){
		os.ErrNotExist:   func() (cgi.Process, error) { return start(folder+"missing.cgi", folder, inFolder) },
		os.ErrPermission: func() (cgi.Process, error) { return start(folder+"out.cgi", folder, inFolder) },
		syscall.EINVAL:   func() (cgi.Process, error) { return start("/bin/sh", folder, inFolder) },
		syscall.ENAMETOOLONG: func() (cgi.Process, error) {
			return start(folder+strings.Repeat("x", maxScriptPath+1), folder, inFolder)
		},
		syscall.E2BIG: func() (cgi.Process, error) {
			return start(folder+"env.cgi", folder, inFolder, "QUERY_STRING="+strings.Repeat("x", maxScriptEnv))
		},
	} {
		if _, err := f(); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	// Stop, and what comes after it.
	if p, err = start(folder+"sleep.cgi", folder, inFolder); err != nil {
		t.Fatal(err)
	}
	remote.Stop(5 * time.Second)
	if e := p.Ending(); e.Signal != syscall.SIGTERM {
		t.Errorf("stopped: %v", e)
	}
	if _, err := start(folder+"env.cgi", folder, inFolder); !errors.Is(err, spawner.ErrStopped) {
		t.Errorf("after Stop: %v", err)
	}
	r.conn.Close()
	<-remote.done
}

// A master that has gone takes its scripts with it.
func TestRemoteScriptsWithoutMaster(t *testing.T) {
	r := newDeskRig(t)
	remote := newRemoteScripts(r.conn, assemble.Names(r.config))
	st := remote.For(r.config.Apps[0])
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	must(t, err)
	defer null.Close()
	cmd := cgi.Command{Script: r.dir + "/scripts/sleep.cgi", Folder: r.dir + "/scripts/", Place: inFolder}
	p, err := st.Start(cmd, null, null, null)
	must(t, err)
	r.desk.conn.Close()
	select {
	case <-p.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the script is taken for running")
	}
	if e := p.Ending(); e.Signal != syscall.SIGKILL {
		t.Error(e)
	}
	if _, err := st.Start(cmd, null, null, null); !errors.Is(err, errMasterGone) {
		t.Error(fmt.Errorf("another start: %w", err))
	}
}
