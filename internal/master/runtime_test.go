package master

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/internal/config"
)

func TestRuntimeDir(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run")
	d, err := openRuntime(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{"": 0o711, "children": 0o710, "lock": 0o600} {
		fi, err := os.Stat(filepath.Join(path, name))
		if err != nil || fi.Mode().Perm() != want {
			t.Errorf("%q has mode %v, %v, want %v", name, fi.Mode().Perm(), err, want)
		}
	}
	if _, err := openRuntime(path, nil); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("in use by another sluice (pid %d)", os.Getpid())) {
		t.Errorf("taken twice: %v", err)
	}
	d.close()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is there after close: %v", err)
	}
}

// What a killed server has left is taken over; what is somebody else's stays.
func TestRuntimeDirLeftOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run")
	if err := os.MkdirAll(filepath.Join(path, "children/old"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path, "note"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	d, err := openRuntime(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(d.children); len(left) != 0 {
		t.Errorf("of the children before there is %v", left)
	}
	d.close()
	if _, err := os.Stat(filepath.Join(path, "note")); err != nil {
		t.Error(err)
	}
}

func TestRuntimeDirRefused(t *testing.T) {
	for _, tc := range []struct {
		name, want string
		make       func(path string) error
	}{
		{"others can write", "can be written by others", func(p string) error { return errors.Join(os.Mkdir(p, 0o700), os.Chmod(p, 0o777)) }},
		{"the group can write", "can be written by others", func(p string) error { return errors.Join(os.Mkdir(p, 0o700), os.Chmod(p, 0o770)) }},
		{"a file", "not a directory", func(p string) error { return os.WriteFile(p, nil, 0o600) }},
		{"a link", "not a directory", func(p string) error { return os.Symlink(os.TempDir(), p) }},
		{"no parent", "no such file", func(p string) error { return os.RemoveAll(filepath.Dir(p)) }},
	} {
		path := filepath.Join(t.TempDir(), "x/run")
		if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o755), tc.make(path)); err != nil {
			t.Fatal(err)
		}
		if _, err := openRuntime(path, nil); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
	if os.Geteuid() == 0 {
		path := filepath.Join(t.TempDir(), "run")
		if err := errors.Join(os.Mkdir(path, 0o711), os.Chown(path, 65534, 65534)); err != nil {
			t.Fatal(err)
		}
		if _, err := openRuntime(path, nil); err == nil || !strings.Contains(err.Error(), "belongs to user 65534") {
			t.Errorf("of another user: %v", err)
		}
	}
}

func TestListenUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sock")
	l := config.Listener{Network: "unix", Address: path, Mode: 0o640, Backlog: 16}
	s, err := listen(l)
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Lstat(path); err != nil || fi.Mode() != os.ModeSocket|0o640 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	if _, err := listen(l); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a live socket: %v", err)
	}
	s.file.Close() // as after a crash: the name is there, and nobody listens
	if s, err = listen(l); err != nil {
		t.Fatalf("a stale socket: %v", err)
	}
	s.close()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after close: %v", err)
	}
	os.WriteFile(path, nil, 0o600)
	if _, err := listen(l); err == nil || !strings.Contains(err.Error(), "something else than a socket") {
		t.Errorf("a file: %v", err)
	}
}

func TestListenTCP(t *testing.T) {
	s, err := listen(config.Listener{Network: "tcp", Address: "127.0.0.1:0", Backlog: 16})
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if _, err := listen(config.Listener{Network: "tcp", Address: s.addr.String(), Backlog: 16}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("twice: %v", err)
	}
	c, err := net.DialTimeout("tcp", s.addr.String(), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}
