package assemble

import (
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sluice/internal/config"
	"sluice/spawner"
)

// Supervisors returns the options of a supervisor for each app whose children
// are sluice's own. Start and Event are the caller's to set. as is who the
// children run as; nil: as this process.
func Supervisors(c *config.Config, sockets string, as *spawner.Identity, log *slog.Logger) []spawner.SupervisorOptions {
	var all []spawner.SupervisorOptions
	for _, a := range c.Apps {
		if a.Kind != config.KindFastCGI || len(a.Command) == 0 {
			continue
		}
		o := spawner.SupervisorOptions{
			App: a.Name,
			Program: spawner.Program{
				Command: a.Command,
				Env:     childEnv(a),
				Dir:     a.Dir,
				Umask:   int(a.Umask),
				As:      as,
			},
			Children:     a.Max,
			SocketDir:    sockets,
			SocketGID:    -1,
			StartTimeout: a.StartTimeout,
			StopSignal:   StopSignal(a.StopSignal),
			StopGrace:    min(a.StopGrace, c.StopTimeout/2),
			Stderr:       errorLog(a, log).For,
			Log:          log,
		}
		if as != nil {
			o.SocketGID = as.GID
		}
		all = append(all, o)
	}
	return all
}

// ScriptGrace is how long scripts that still run when their worker ends have
// from the stop signal to SIGKILL.
func ScriptGrace(c *config.Config) time.Duration {
	var d time.Duration
	for _, a := range c.Apps {
		if a.Kind == config.KindCGI {
			d = max(d, a.StopGrace)
		}
	}
	return min(d, c.StopTimeout/2)
}

// childEnv is the whole environment of a long-lived child, sorted so that the
// same configuration gives the same child.
func childEnv(a *config.App) []string {
	env := passed(a, os.Environ())
	for k, v := range a.Env {
		env = append(env, k+"="+v)
	}
	slices.Sort(env)
	return env
}

// StopSignal is the signal of a name without SIG.
func StopSignal(name string) syscall.Signal { return unix.SignalNum("SIG" + name) }

// Identity looks up the user and group that workers and children run as. It is
// nil when neither is set. A user or group may be a number.
func Identity(c *config.Config) (*spawner.Identity, error) {
	if c.User == "" && c.Group == "" {
		return nil, nil
	}
	id := &spawner.Identity{UID: os.Getuid(), GID: os.Getgid()}
	if c.User != "" {
		if err := setUser(id, c.User); err != nil {
			return nil, err
		}
	}
	if c.Group != "" {
		gid, err := lookUpGroup(c.Group)
		if err != nil {
			return nil, err
		}
		id.GID = gid
	}
	if os.Geteuid() != 0 && (id.UID != os.Getuid() || id.GID != os.Getgid()) {
		return nil, fmt.Errorf("only root can run workers as user %q, group %q", c.User, c.Group)
	}
	return id, nil
}

func setUser(id *spawner.Identity, name string) error {
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return fmt.Errorf("user %q does not exist", name)
		}
	}
	if id.UID, err = strconv.Atoi(u.Uid); err != nil {
		return err
	}
	if id.GID, err = strconv.Atoi(u.Gid); err != nil {
		return err
	}
	groups, err := u.GroupIds()
	if err != nil {
		return fmt.Errorf("groups of user %q: %w", name, err)
	}
	for _, g := range groups {
		gid, err := strconv.Atoi(g)
		if err != nil {
			return err
		}
		id.Groups = append(id.Groups, gid)
	}
	return nil
}

func lookUpGroup(name string) (int, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		if g, err = user.LookupGroupId(name); err != nil {
			return 0, fmt.Errorf("group %q does not exist", name)
		}
	}
	return strconv.Atoi(g.Gid)
}
