package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestHotMain(t *testing.T) {
	in := origin(t, func(w http.ResponseWriter, r *http.Request) { w.Write([]byte(r.URL.Path)) })
	var out bytes.Buffer
	if err := hotMain([]string{in.address(), "/hot", "100ms"}, &out); err != nil {
		t.Fatal(err)
	}
	var x hotTimes
	if _, err := fmt.Sscan(out.String(), &x.p50, &x.p99, &x.longest, &x.n); err != nil || x.n < 1 || x.n > 51 ||
		x.p50 <= 0 || x.p99 < x.p50 || x.longest < x.p99 {
		t.Errorf("%q: %v", out.String(), err)
	}
	refuses := origin(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(503) })
	if err := hotMain([]string{refuses.address(), "/", "1s"}, &out); err == nil {
		t.Error("no error for a 503")
	}
	if err := hotMain(nil, &out); err == nil {
		t.Error("no error without arguments")
	}
}

func TestRank(t *testing.T) {
	list := make([]time.Duration, 200)
	for i := range list {
		list[i] = time.Duration(i + 1)
	}
	if rank(list, 50) != 100 || rank(list, 99) != 198 || rank(list[:1], 99) != 1 {
		t.Error(rank(list, 50), rank(list, 99), rank(list[:1], 99))
	}
}

func TestColdLoad(t *testing.T) {
	var n atomic.Int64
	body := make([]byte, coldSize)
	in := origin(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !strings.HasPrefix(r.URL.Path, "/"+coldFolder+"/"):
			t.Error(r.URL.Path)
		case n.Add(1)%3 == 0:
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(503)
			return
		}
		w.Write(body)
	})
	l := startCold(t.Context(), in, 4)
	for l.served.Load() < 20 {
		time.Sleep(time.Millisecond)
	}
	l.stop()
	if l.shed.Load() == 0 || l.broken.Load() != 0 || l.took <= 0 {
		t.Errorf("%d shed, %d broken (%v), in %v", l.shed.Load(), l.broken.Load(), l.fault.Load(), l.took)
	}
	wrong := origin(t, func(w http.ResponseWriter, r *http.Request) { w.Write(body[1:]) })
	l = startCold(t.Context(), wrong, 2)
	for l.broken.Load() < 2 {
		time.Sleep(time.Millisecond)
	}
	l.stop()
}

// Whoever may make groups can make the disk slow; nobody else is told that he can.
func TestSlowDisk(t *testing.T) {
	name := folderPrefix + "test"
	s, err := newSlowDisk(name, t.TempDir(), 400)
	if err != nil {
		if _, serr := os.Stat(filepath.Join(blkio, name)); serr == nil {
			t.Error("a group is left")
		}
		t.Log("no disk can be made slow here: ", err)
		return
	}
	text, err := os.ReadFile(filepath.Join(s.dir, "blkio.throttle.read_iops_device"))
	if err != nil || !strings.HasSuffix(strings.TrimSpace(string(text)), " 400") {
		t.Errorf("%q, %v", text, err)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
	if _, err := newSlowDisk(name, "/proc", 400); err == nil {
		t.Error("/proc has a disk")
	}
}
