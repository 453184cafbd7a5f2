package assemble

import (
	"log/slog"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sluice/internal/config"
	"sluice/spawner"
)

// Supervisor returns the options of the supervisor of an app whose children are
// sluice's own. Start, Event, Ledger and what tells it from others of the same
// app are the caller's to set.
func Supervisor(c *config.Config, a *config.App, sockets string, ids *Identities, log *slog.Logger) spawner.SupervisorOptions {
	o := spawner.SupervisorOptions{
		App: a.Name,
		Program: spawner.Program{
			Command: a.Command,
			Env:     childEnv(a),
			Dir:     a.Dir,
			Umask:   int(a.Umask),
			Rlimits: rlimits(a.Rlimit),
			As:      ids.App(a),
		},
		Scale:        scales[a.Scale],
		Min:          a.Min,
		Max:          a.Max,
		Spare:        a.Spare,
		Connections:  a.Connections,
		IdleTimeout:  a.IdleTimeout,
		MaxRequests:  a.MaxRequests,
		MaxAge:       a.MaxAge,
		MaxMemory:    a.MaxMemory,
		SocketDir:    sockets,
		SocketGID:    -1,
		StartTimeout: a.StartTimeout,
		StopSignal:   StopSignal(a.StopSignal),
		StopGrace:    min(a.StopGrace, c.StopTimeout/2),
		Stderr:       errorLog(a, log).For,
		Log:          log,
	}
	if ids.Workers != nil {
		o.SocketGID = ids.Workers.GID
	}
	return o
}

var scales = map[string]spawner.Scale{
	"static":   spawner.ScaleStatic,
	"dynamic":  spawner.ScaleDynamic,
	"ondemand": spawner.ScaleOnDemand,
}

func rlimits(r config.Rlimit) spawner.Rlimits {
	return spawner.Rlimits{Memory: r.Memory, CPU: r.CPU, Files: r.Files, Processes: r.Processes}
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
