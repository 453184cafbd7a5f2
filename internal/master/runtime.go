package master

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"sluice/spawner"
)

// runtimeDir is the folder of sockets and locks, locked while in use.
type runtimeDir struct {
	path     string
	children string // folder of the children's sockets
	lock     *os.File
}

// openRuntime makes the folder, or takes one that nobody else can write to.
func openRuntime(path string, as *spawner.Identity) (*runtimeDir, error) {
	if err := os.Mkdir(path, 0o711); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return nil, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return nil, fmt.Errorf("runtime directory %s is not a directory", path)
	case int(st.Uid) != os.Geteuid():
		return nil, fmt.Errorf("runtime directory %s belongs to user %d", path, st.Uid)
	case st.Mode&0o022 != 0:
		return nil, fmt.Errorf("runtime directory %s can be written by others (mode %04o)", path, st.Mode&0o7777)
	}
	if err := os.Chmod(path, 0o711); err != nil {
		return nil, err
	}
	d := &runtimeDir{path: path, children: filepath.Join(path, "children")}
	if err := d.take(); err != nil {
		return nil, err
	}
	return d, d.makeChildren(as)
}

// take locks the folder; the pid in the lock file is for people.
func (d *runtimeDir) take() error {
	f, err := os.OpenFile(filepath.Join(d.path, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		var b [32]byte
		n, _ := f.Read(b[:])
		f.Close()
		return fmt.Errorf("runtime directory %s is in use by another sluice (pid %s)", d.path, strings.TrimSpace(string(b[:n])))
	}
	f.Truncate(0)
	fmt.Fprintf(f, "%d\n", os.Getpid())
	d.lock = f
	return nil
}

func (d *runtimeDir) makeChildren(as *spawner.Identity) error {
	// What an earlier run left behind when it was killed.
	if err := os.RemoveAll(d.children); err != nil {
		return err
	}
	if err := os.Mkdir(d.children, 0o710); err != nil {
		return err
	}
	if as != nil {
		return os.Chown(d.children, -1, as.GID)
	}
	return nil
}

// close removes what was made; the folder itself stays if it holds more.
func (d *runtimeDir) close() {
	os.RemoveAll(d.children)
	os.Remove(d.lock.Name())
	d.lock.Close()
	os.Remove(d.path)
}
