package config

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// defaultListen is what is listened on when neither listen nor [[listener]] is
// written.
var defaultListen = endpoint{"tcp", "127.0.0.1:8080"}

// DefaultRuntime is the runtime directory of a configuration that names none:
// $RUNTIME_DIRECTORY (systemd's; the first of several), else sluice-HASH in /run
// for root, else in $XDG_RUNTIME_DIR, else in the temporary directory. HASH is
// the first 12 hexadecimal digits of the SHA-256 of key: the absolute path of
// the file, or whatever else tells one instance from another.
func DefaultRuntime(key string) string {
	if dir, _, _ := strings.Cut(os.Getenv("RUNTIME_DIRECTORY"), ":"); filepath.IsAbs(dir) {
		return filepath.Clean(dir)
	}
	parent := os.TempDir()
	if xdg := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(xdg) {
		parent = xdg
	}
	if os.Geteuid() == 0 {
		parent = "/run"
	}
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(parent, "sluice-"+hex.EncodeToString(sum[:])[:12])
}

// resolve fills in the defaults that depend on other values.
func (c *checker) resolve() {
	d := c.draft
	if d.Workers == 0 {
		d.Workers = min(runtime.NumCPU(), 64)
	}
	if d.Runtime == "" {
		d.Runtime = DefaultRuntime(d.File)
	}
	if d.Control == "" {
		d.Control = filepath.Join(d.Runtime, "control.sock")
	}
	if d.Accept.LockDir == "" {
		d.Accept.LockDir = d.Runtime
	}
	c.resolveListeners()
	for _, a := range d.Apps {
		if a.Kind == KindCGI && !c.wrote(&a.Max) {
			a.Max = maxCGI
		}
		if a.User == "" {
			a.User = d.User
			if a.Group == "" {
				a.Group = d.Group
			}
		}
	}
	for _, s := range d.Sites {
		for _, r := range s.Routes {
			r.Static = r.Static || r.Alias != ""
		}
	}
}

// resolveListeners brings the two forms of a listener together.
func (c *checker) resolveListeners() {
	d := c.draft
	if !c.wrote(&d.listen) && len(d.long) == 0 {
		d.listen = []endpoint{defaultListen}
	}
	for _, e := range d.listen {
		d.Listeners = append(d.Listeners, plainListener(e))
	}
	for _, long := range d.long {
		d.Listeners = append(d.Listeners, long.listener())
	}
}

// plainListener is an entry of listen: every other key has its default.
func plainListener(e endpoint) Listener {
	l := new(longListener)
	listenerRows.reset(l, false)
	l.where = e
	return l.listener()
}

func (l *longListener) listener() Listener {
	one := l.Listener
	one.Network, one.Address = l.where.network, l.where.address
	if one.Network != "unix" {
		one.Mode = 0
	}
	return one
}
