package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"sluice/cgi"
	"sluice/internal/assemble"
	"sluice/internal/config"
	"sluice/internal/master"
	"sluice/spawner"
)

// What an [[app]] has as default.
const (
	spawnStart   = 10 * time.Second
	spawnGrace   = 5 * time.Second
	spawnLines   = 100 // of standard error, a second
	spawnBacklog = 4096
	spawnMost    = 10000
	// spawnPathMost is what sockaddr_un takes, without the NUL.
	spawnPathMost = 107
)

func spawnCommand() *cli.Command {
	return &cli.Command{
		Name:      "spawn",
		Usage:     "supervise a FastCGI application on one socket, without a front end",
		ArgsUsage: "-- COMMAND [ARGUMENT…]",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "socket", Usage: "where the children listen: `ADDRESS` is unix:/path or host:port"},
			&cli.IntFlag{Name: "children", Usage: "how many run", Value: 1},
			&cli.StringFlag{Name: "user", Usage: "user of the children, and owner of a unix socket"},
			&cli.StringFlag{Name: "group", Usage: "group of the children and of a unix socket, instead of the user's"},
			&cli.StringFlag{Name: "mode", Usage: "mode of a unix socket, octal", Value: "0660"},
		},
		Action: func(c *cli.Context) error {
			o, err := spawnOptions(c)
			if err != nil {
				return err
			}
			return o.run()
		},
	}
}

// spawned is a pool of children that share one socket.
type spawned struct {
	command  []string
	children int
	as       *spawner.Identity
	listener config.Listener
	log      *slog.Logger

	mu    sync.Mutex
	addr  net.Addr
	bound os.FileInfo // the unix socket, as it was bound
}

func spawnOptions(c *cli.Context) (*spawned, error) {
	o := &spawned{command: c.Args().Slice(), children: c.Int("children"), log: master.NewLog(os.Stderr, "info")}
	if len(o.command) == 0 {
		return nil, usageError("spawn needs a command")
	}
	if o.children < 1 || o.children > spawnMost {
		return nil, usageError("--children is from 1 to %d", spawnMost)
	}
	mode, err := strconv.ParseUint(c.String("mode"), 8, 32)
	if err != nil || mode > 0o777 {
		return nil, usageError("--mode %q is not an octal mode", c.String("mode"))
	}
	network, address, err := spawnAddress(c.String("socket"))
	if err != nil {
		return nil, usageError("--socket %q: %v", c.String("socket"), err)
	}
	o.listener = config.Listener{Network: network, Address: address, Mode: uint32(mode), Backlog: spawnBacklog}
	if o.as, err = assemble.Identity(c.String("user"), c.String("group")); err != nil {
		return nil, usageError("%v", err)
	}
	if o.as != nil {
		o.listener.User, o.listener.Group = strconv.Itoa(o.as.UID), strconv.Itoa(o.as.GID)
	}
	return o, nil
}

// spawnAddress is an address in the forms of a listener and of an app's address
// in the configuration, or an absolute path, as for spawn-fcgi.
func spawnAddress(text string) (network, address string, err error) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok || filepath.IsAbs(text) {
		if path == "" {
			return "", "", errors.New("no path")
		}
		path, err = filepath.Abs(path)
		if err == nil && len(path) > spawnPathMost {
			err = fmt.Errorf("want a socket path of at most %d bytes, this has %d", spawnPathMost, len(path))
		}
		return "unix", path, err
	}
	host, port, err := net.SplitHostPort(strings.TrimPrefix(text, "tcp:"))
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return "", "", errors.New(`want "unix:/path", "host:port" or "[::1]:port"`)
	}
	return "tcp", net.JoinHostPort(strings.TrimPrefix(host, "*"), port), nil
}

// run supervises the children until it is told to stop.
func (o *spawned) run() error {
	listen, err := o.bind()
	if err != nil {
		return err
	}
	defer o.unbind()
	defer listen.Close()
	if err := spawner.Subreaper(); err != nil {
		return err
	}
	reaper := spawner.NewReaper()
	defer reaper.Close()
	groups, group := o.cgroup()
	if groups != nil {
		defer groups.Close()
	}
	sup, err := o.supervisor(reaper, listen, group)
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP)
	defer signal.Stop(signals)
	return o.attend(sup, signals)
}

func (o *spawned) name() string { return filepath.Base(o.command[0]) }

func (o *spawned) supervisor(reaper *spawner.Reaper, listen *os.File, group *spawner.Cgroup) (*spawner.Supervisor, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	mask := syscall.Umask(0)
	syscall.Umask(mask)
	errs := &cgi.ErrorLog{App: o.name(), Log: o.log, Lines: spawnLines, Per: time.Second}
	return spawner.NewSupervisor(spawner.SupervisorOptions{
		App:          o.name(),
		Program:      spawner.Program{Command: o.command, Env: os.Environ(), Dir: dir, Umask: mask, As: o.as},
		Listen:       listen,
		Rebind:       o.bind,
		Max:          o.children,
		Cgroup:       group,
		StartTimeout: spawnStart,
		StopSignal:   syscall.SIGTERM,
		StopGrace:    spawnGrace,
		Start:        (&spawner.Forker{Reaper: reaper, Do: master.OnMain}).Start,
		Event:        func(spawner.Event) {},
		Stderr:       errs.For,
		Log:          o.log,
	})
}

// cgroup has the control group of the children, where it may be made.
func (o *spawned) cgroup() (*spawner.Cgroups, *spawner.Cgroup) {
	groups, err := spawner.OpenCgroups()
	if err != nil {
		o.log.Debug("children run without control groups of their own", "err", err)
		return nil, nil
	}
	group, err := groups.App(o.name())
	if err != nil {
		o.log.Warn("children run without control groups of their own", "err", err)
	}
	return groups, group
}

// attend starts the children and does what signals say until they have ended.
func (o *spawned) attend(sup *spawner.Supervisor, signals <-chan os.Signal) error {
	ctx, kill := context.WithCancel(context.Background())
	defer kill()
	started := make(chan error, 1)
	go func() { started <- sup.Start() }()
	var failed error
	var ended chan struct{}
	stop := func() {
		ended = make(chan struct{})
		go func() { sup.Stop(ctx); close(ended) }()
	}
	var restarts sync.WaitGroup
	defer restarts.Wait()
	for {
		select {
		case err := <-started:
			started = nil
			switch {
			case ended != nil:
			case err != nil:
				failed = &master.ExitError{Code: master.ExitExec, Err: err}
				stop()
			default:
				o.log.Info("listening", "address", o.address(), "children", o.children)
				fmt.Fprintln(os.Stderr, "sluice: ready")
			}
		case s := <-signals:
			switch {
			case s == syscall.SIGHUP:
				restarts.Go(func() { o.restart(ctx, sup) })
			case ended != nil:
				kill()
			default:
				o.log.Info("stopping", "signal", s)
				stop()
			}
		case <-ended:
			o.log.Info("stopped")
			return failed
		}
	}
}

func (o *spawned) restart(ctx context.Context, sup *spawner.Supervisor) {
	n, err := sup.Restart(ctx)
	if err != nil {
		o.log.Error("restart failed", "restarted", n, "err", err)
		return
	}
	o.log.Info("children have been restarted", "restarted", n)
}

// bind binds the socket of all children, for the first time or anew.
func (o *spawned) bind() (*os.File, error) {
	f, addr, err := master.Bind(o.listener)
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.addr = addr
	if o.listener.Network != "unix" {
		return f, nil
	}
	bound, err := os.Lstat(o.listener.Address)
	if err != nil {
		f.Close()
		os.Remove(o.listener.Address)
		return nil, &master.ExitError{Code: master.ExitBind, Err: err}
	}
	o.bound = bound
	return f, nil
}

func (o *spawned) address() net.Addr {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.addr
}

// unbind removes the unix socket, unless the name is another's by now.
func (o *spawned) unbind() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.bound == nil {
		return
	}
	if fi, err := os.Lstat(o.listener.Address); err == nil && os.SameFile(fi, o.bound) {
		os.Remove(o.listener.Address)
	}
}
