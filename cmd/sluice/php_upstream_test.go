package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A child that is to take several requests at once is asked what it thinks of
// that; one that takes one at a time is not.
func TestPHPValues(t *testing.T) {
	needs(t, "php-cgi")
	for _, c := range []struct {
		name, app string
		warns     bool
	}{
		{"one process", "connections = 3", true},
		{"three processes", "connections = 3\nenv = { PHP_FCGI_CHILDREN = \"3\" }", false},
		{"one connection", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, _ := phpDir(t)
			s := startSite(t, dir, "log.level = \"debug\"\n"+phpSite(dir, "command = [\"php-cgi\"]\nmax = 2\n"+c.app))
			// A request on a kept connection would have the only process to itself.
			if c.app != "" {
				s.waitLog(t, `msg="child says what it can take" app=php pid=\d+`)
			}
			for range 5 {
				s.get(200, "/page.php")
			}
			if n := strings.Count(s.text(), "child says what it can take"); c.app == "" && n > 0 || n > 1 {
				t.Errorf("asked %d times", n)
			}
			if warned := strings.Contains(s.text(), "fewer connections at once than are configured"); warned != c.warns {
				t.Errorf("warned: %v\n%s", warned, s.text())
			}
		})
	}
}

// A php-fpm that is reloaded, and one that is stopped and started again, under
// load: no GET fails.
func TestPHPFPMRestarts(t *testing.T) {
	needs(t, "php-fpm8.2")
	for _, how := range []struct {
		name   string
		signal syscall.Signal
		ends   bool
	}{
		{"reload", syscall.SIGUSR2, false},
		{"graceful stop", syscall.SIGQUIT, true},
		{"stop", syscall.SIGTERM, true},
	} {
		t.Run(how.name, func(t *testing.T) {
			dir, _ := phpDir(t)
			listen := filepath.Join(dir, "fpm.sock")
			f := startFPM(t, dir, listen)
			s := startSite(t, dir, phpSite(dir, fmt.Sprintf("address = [\"unix:%s\"]\nconnect_timeout = \"5s\"", listen)))
			load := s.load("/page.php", 8)
			for range 3 {
				time.Sleep(300 * time.Millisecond)
				if !how.ends {
					f.cmd.Process.Signal(how.signal)
					continue
				}
				f.cmd.Process.Signal(how.signal)
				<-f.done
				os.Remove(filepath.Join(dir, "fpm.log"))
				f = startFPM(t, dir, listen)
			}
			time.Sleep(300 * time.Millisecond)
			done, failed := load()
			if len(failed) > 0 || done < 50 {
				t.Errorf("%d of %d requests failed: %.500q\n%s", len(failed), done, failed, s.text())
			}
		})
	}
}

// load has so many clients make GETs, one after the other, until the function
// that it returns is called, which says how many there were and what failed.
func (s *site) load(path string, clients int) func() (int, []string) {
	var stop atomic.Bool
	var mu sync.Mutex
	var wg sync.WaitGroup
	done, failed := 0, []string(nil)
	for range clients {
		wg.Go(func() {
			for !stop.Load() {
				a, err := httpRequest{target: path}.send("tcp", s.addr)
				mu.Lock()
				switch done++; {
				case err != nil:
					failed = append(failed, err.Error())
				case a.StatusCode != 200 || a.err != nil:
					failed = append(failed, fmt.Sprint(a.Status, " ", a.err))
				}
				mu.Unlock()
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	return func() (int, []string) {
		stop.Store(true)
		wg.Wait()
		return done, failed
	}
}
