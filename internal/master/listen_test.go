package master

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"sluice/internal/config"
)

// What somebody puts in the place of a socket keeps its mode and owner.
func TestOwnIsForSockets(t *testing.T) {
	dir := t.TempDir()
	secret, path := filepath.Join(dir, "secret"), filepath.Join(dir, "sock")
	must(t, os.WriteFile(secret, nil, 0o600))
	must(t, os.Symlink(secret, path))
	c := config.Listener{Network: "unix", Address: path, Mode: 0o666, Group: strconv.Itoa(os.Getgid())}
	if err := own(c); err == nil {
		t.Error("a link is followed")
	}
	must(t, os.Remove(path))
	must(t, os.Link(secret, path))
	if err := own(c); err == nil {
		t.Error("a file is taken for the socket")
	}
	if fi, err := os.Stat(secret); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	must(t, os.Remove(path))
	l, err := net.Listen("unix", path)
	must(t, err)
	defer l.Close()
	must(t, own(c))
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o666 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
}
