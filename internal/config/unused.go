package config

import (
	"fmt"
	"slices"
)

// Which apps a key means nothing for.
const (
	forScripts   = 1 << iota // kind = "cgi"
	forAddresses             // programs that run elsewhere
	forCommands              // long-lived children of sluice's own
)

// means says for which apps a key of [[app]] has no meaning.
var means = []struct {
	name  string
	field func(*App) any
	not   int
}{
	{"user", func(a *App) any { return &a.User }, forAddresses},
	{"group", func(a *App) any { return &a.Group }, forAddresses},
	{"umask", func(a *App) any { return &a.Umask }, forAddresses},
	{"rlimit.memory", func(a *App) any { return &a.Rlimit.Memory }, forAddresses},
	{"rlimit.cpu", func(a *App) any { return &a.Rlimit.CPU }, forAddresses},
	{"rlimit.files", func(a *App) any { return &a.Rlimit.Files }, forAddresses},
	{"rlimit.processes", func(a *App) any { return &a.Rlimit.Processes }, forAddresses},
	{"dir", func(a *App) any { return &a.Dir }, forAddresses},
	{"pass_env", func(a *App) any { return &a.PassEnv }, forAddresses},
	{"scale", func(a *App) any { return &a.Scale }, forScripts | forAddresses},
	{"min", func(a *App) any { return &a.Min }, forScripts | forAddresses},
	{"max", func(a *App) any { return &a.Max }, forAddresses},
	{"spare", func(a *App) any { return &a.Spare }, forScripts | forAddresses},
	{"connections", func(a *App) any { return &a.Connections }, forScripts | forAddresses},
	{"max_requests", func(a *App) any { return &a.MaxRequests }, forScripts | forAddresses},
	{"max_age", func(a *App) any { return &a.MaxAge }, forScripts | forAddresses},
	{"max_memory", func(a *App) any { return &a.MaxMemory }, forScripts | forAddresses},
	{"idle_timeout", func(a *App) any { return &a.IdleTimeout }, forScripts | forAddresses},
	{"start_timeout", func(a *App) any { return &a.StartTimeout }, forScripts | forAddresses},
	{"stop_signal", func(a *App) any { return &a.StopSignal }, forAddresses},
	{"stop_grace", func(a *App) any { return &a.StopGrace }, forAddresses},
	{"connect_timeout", func(a *App) any { return &a.ConnectTimeout }, forScripts},
	{"keepalive", func(a *App) any { return &a.Keepalive }, forScripts | forAddresses},
	{"max_conns", func(a *App) any { return &a.MaxConns }, forScripts | forCommands},
	{"balance", func(a *App) any { return &a.Balance }, forScripts | forCommands},
	{"max_fails", func(a *App) any { return &a.MaxFails }, forScripts | forCommands},
	{"fail_timeout", func(a *App) any { return &a.FailTimeout }, forScripts | forCommands},
	{"background", func(a *App) any { return &a.Background }, forCommands | forAddresses},
}

// forStores are keys of every app that fetches what X-Reproxy-URL names.
var forStores = []string{"connect_timeout"}

// kindOf is which apps an app is one of, and what that is called.
func kindOf(a *App) (bit int, what string) {
	switch {
	case a.Kind == KindCGI:
		return forScripts, "of scripts"
	case len(a.Address) > 0:
		return forAddresses, "that runs elsewhere"
	}
	return forCommands, "that sluice runs"
}

// unusedAccept says which keys of [accept] mean nothing in its mode.
func (c *Config) unusedAccept() (all []string) {
	a := &c.origin.draft.Accept
	for _, k := range []struct {
		field any
		used  bool
	}{
		{&a.Permits, usesPermits(a)},
		{&a.LockDir, usesLockDir(a)},
	} {
		if mark, wrote := c.origin.marks[k.field]; wrote && !k.used {
			all = append(all, fmt.Sprintf("%s: %s means nothing in the accept mode %q", mark.at, mark.path, a.Mode))
		}
	}
	return all
}

// Unused says which keys were written where they mean nothing, each with its position: that is no error, but whoever wrote them may believe
// otherwise.
func (c *Config) Unused() []string {
	var all []string
	if c.origin == nil {
		return nil
	}
	all = append(all, c.unusedAccept()...)
	for _, a := range c.Apps {
		bit, what := kindOf(a)
		for _, m := range means {
			mark, wrote := c.origin.marks[m.field(a)]
			if wrote && m.not&bit != 0 && !(len(a.SendFile.Reproxy) > 0 && slices.Contains(forStores, m.name)) {
				all = append(all, fmt.Sprintf("%s: %s means nothing for an app %s", mark.at, mark.path, what))
			}
		}
	}
	return all
}
