package config

import "time"

// draft is a Config while it is read: the listeners are still in the two forms
// of the file.
type draft struct {
	*Config
	listen []endpoint
	long   []*longListener
}

// longListener is one [[listener]].
type longListener struct {
	Listener
	where endpoint
}

// The rows of the file, in the order in which Print writes them. Each says:
// key, field, type and limits, default, what of it is built.

var fileRows = schema[draft]{
	key("listen", func(d *draft) *[]endpoint { return &d.listen }, set(listening, 1), nil, built).taking(Relisten),
	key("workers", func(d *draft) *int { return &d.Workers }, whole(0, 64), 1, built).taking(NewGeneration),
	key("runtime", func(d *draft) *string { return &d.Runtime }, file, "", built).taking(RestartServer),
	key("control", func(d *draft) *string { return &d.Control }, file, "", built).taking(RestartServer),
	key("user", func(d *draft) *string { return &d.User }, account, "", built).taking(RestartServer),
	key("group", func(d *draft) *string { return &d.Group }, account, "", built).taking(RestartServer),
	key("watch", func(d *draft) *bool { return &d.Watch }, boolean, true, built).taking(NewGeneration),
	key("include", func(d *draft) *[]string { return &d.Include }, set(pattern, 0), nil, built).onlyWhen(never).taking(NewGeneration),
	key("stop_timeout", func(d *draft) *time.Duration { return &d.StopTimeout }, duration(positive), 30*time.Second, built).taking(NewGeneration),
	key("drain_timeout", func(d *draft) *time.Duration { return &d.DrainTimeout }, duration(0), 0, built).taking(NewGeneration),
	key("spool_dir", func(d *draft) *string { return &d.SpoolDir }, file, "/var/tmp", built).taking(NewGeneration),
	table("accept", func(d *draft) *Accept { return &d.Accept }, acceptRows, built).taking(NewGeneration),
	table("linger", func(d *draft) *Linger { return &d.Linger }, lingerRows, built).taking(NewGeneration),
	table("limits", func(d *draft) *Limits { return &d.Limits }, limitsRows, built).taking(NewGeneration),
	table("log", func(d *draft) *Log { return &d.Log }, logRows, built).taking(NewGeneration),
	table("status", func(d *draft) *Status { return &d.Status }, statusRows, built).taking(NewGeneration),
	table("send", func(d *draft) *Send { return &d.Send }, sendRows, built).taking(NewGeneration),
	tables("listener", "address", (*longListener).names, func(d *draft) *[]*longListener { return &d.long }, listenerRows).taking(Relisten),
	tables("app", "name", (*App).names, func(d *draft) *[]*App { return &d.Apps }, appRows).taking(NewGeneration),
	tables("site", "hosts", (*Site).names, func(d *draft) *[]*Site { return &d.Sites }, siteRows).taking(NewGeneration),
}

// never keeps include out of Print, which has the included files in it.
func never(*draft) bool { return false }

var listenerRows = schema[longListener]{
	key("address", func(l *longListener) *endpoint { return &l.where }, listening, endpoint{}, built),
	key("backlog", func(l *longListener) *int { return &l.Backlog }, whole(1, 65535), 4096, built).onlyWhen(bindsItself),
	key("mode", func(l *longListener) *uint32 { return &l.Mode }, octal, 0o660, built).onlyWhen(isUnix),
	key("user", func(l *longListener) *string { return &l.User }, account, "", built).onlyWhen(isUnix),
	key("group", func(l *longListener) *string { return &l.Group }, account, "", built).onlyWhen(isUnix),
	key("proxy_from", func(l *longListener) *[]string { return &l.ProxyFrom }, set(network, 0), nil, built).taking(NewGeneration),
}

func isUnix(l *longListener) bool      { return l.where.network == "unix" }
func bindsItself(l *longListener) bool { return l.where.network != "systemd" }

var acceptRows = schema[Accept]{
	key("mode", func(a *Accept) *string { return &a.Mode }, oneOf("none", "flock", "fcntl", "sysvsem", "posixsem",
		"pthread", "uslock", "partial", "exclusive", "reuseport"), "none", built),
	key("permits", func(a *Accept) *int { return &a.Permits }, whole(1, 64), 2, built).onlyWhen(usesPermits),
	key("lock_dir", func(a *Accept) *string { return &a.LockDir }, file, "", built).onlyWhen(usesLockDir),
}

func usesPermits(a *Accept) bool { return a.Mode == "partial" }
func usesLockDir(a *Accept) bool { return a.Mode == "flock" || a.Mode == "fcntl" }

var lingerRows = schema[Linger]{
	key("mode", func(l *Linger) *string { return &l.Mode }, oneOf("off", "so_linger", "timed", "always", "adaptive"), "timed", built),
	key("idle", func(l *Linger) *time.Duration { return &l.Idle }, duration(positive), 2*time.Second, built),
	key("total", func(l *Linger) *time.Duration { return &l.Total }, duration(positive), 30*time.Second, built),
	key("max", func(l *Linger) *int { return &l.Max }, whole(1, many), 1024, built),
}

var limitsRows = schema[Limits]{
	key("connections", func(l *Limits) *int { return &l.Connections }, whole(1, many), 10000, built),
	key("at_limit", func(l *Limits) *string { return &l.AtLimit }, oneOf("wait", "refuse"), "wait", built),
	key("per_client", func(l *Limits) *int { return &l.PerClient }, whole(0, many), 0, built),
	key("header_bytes", func(l *Limits) *int64 { return &l.HeaderBytes }, size(1), 64<<10, built),
	key("header_timeout", func(l *Limits) *time.Duration { return &l.HeaderTimeout }, duration(positive), 10*time.Second, built),
	key("body_bytes", func(l *Limits) *int64 { return &l.BodyBytes }, size(1), 1<<30, built),
	key("body_memory", func(l *Limits) *int64 { return &l.BodyMemory }, size(0), 64<<10, built),
	key("body_rate", func(l *Limits) *int64 { return &l.BodyRate }, size(0), 0, built),
	key("response_memory", func(l *Limits) *int64 { return &l.ResponseMemory }, size(1), 256<<10, built),
	key("response_bytes", func(l *Limits) *int64 { return &l.ResponseBytes }, size(0), 1<<30, built),
	key("keepalive_idle", func(l *Limits) *time.Duration { return &l.KeepaliveIdle }, duration(0), 75*time.Second, built),
	key("keepalive_requests", func(l *Limits) *int { return &l.KeepaliveRequests }, whole(0, many), 0, built),
	key("send_timeout", func(l *Limits) *time.Duration { return &l.SendTimeout }, duration(positive), 60*time.Second, built),
	key("half_close", func(l *Limits) *string { return &l.HalfClose }, oneOf("abort", "answer"), "abort", built),
	key("trusted_proxies", func(l *Limits) *[]string { return &l.TrustedProxies }, set(network, 0), nil, built),
}

var logRows = schema[Log]{
	key("error", func(l *Log) *string { return &l.Error }, fileOr([]string{"stderr"}, "stdout"), "stderr", built),
	key("level", func(l *Log) *string { return &l.Level }, oneOf("debug", "info", "warn", "error"), "info", built),
	key("access", func(l *Log) *string { return &l.Access }, fileOr([]string{"", "stdout"}, "stderr"), "", built),
	key("format", func(l *Log) *string { return &l.Format }, oneOf("common", "combined", "json"), "combined", built),
	key("slow", func(l *Log) *time.Duration { return &l.Slow }, duration(0), 5*time.Second, built),
}

var statusRows = schema[Status]{
	key("listen", func(s *Status) *string { return &s.Listen }, statusAddress, "", built).taking(Relisten),
	key("extended", func(s *Status) *bool { return &s.Extended }, boolean, true, built),
	key("scoreboard", func(s *Status) *string { return &s.Scoreboard }, fileOr([]string{"memory"}), "memory", built).taking(RestartServer),
}

var sendRows = schema[Send]{
	key("cache", func(s *Send) *int { return &s.Cache }, whole(0, many), 1024, built),
	key("io_threads", func(s *Send) *int { return &s.IOThreads }, whole(1, 1024), 8, built),
	key("io_queue", func(s *Send) *int { return &s.IOQueue }, whole(0, many), 256, built),
	key("shed_file", func(s *Send) *string { return &s.ShedFile }, file, "", built),
}
