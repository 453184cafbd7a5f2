package config

import "time"

// sendFileHeaders are the dialects, in their canonical spelling.
var sendFileHeaders = []string{"X-Sendfile", "X-LIGHTTPD-send-file", "X-Sendfile2", "X-Accel-Redirect",
	"X-Reproxy-File", "X-Reproxy-URL", "X-Sendfile-Temporary"}

// maxCGI is the default of max for kind = "cgi".
const maxCGI = 32

var appRows = schema[App]{
	key("name", func(a *App) *string { return &a.Name }, name, "", built).taking(RestartApp),
	key("kind", func(a *App) *string { return &a.Kind }, oneOf(KindFastCGI, KindCGI), "", built).taking(RestartApp),
	key("command", func(a *App) *[]string { return &a.Command }, command, nil, built).taking(RestartApp),
	key("address", func(a *App) *[]Address { return &a.Address }, set(upstream, 1), nil, built).taking(RetuneApp),
	key("script_root", func(a *App) *string { return &a.ScriptRoot }, foreignPath, "", built).taking(NewGeneration),
	key("role", func(a *App) *string { return &a.Role }, oneOf("responder", "authorizer", "filter"), "responder", built).taking(NewGeneration),
	key("dir", func(a *App) *string { return &a.Dir }, file, "", built).taking(RestartApp),
	key("env", func(a *App) *map[string]string { return &a.Env }, variables, nil, built).taking(RestartApp).unseen(),
	key("pass_env", func(a *App) *[]string { return &a.PassEnv }, set(variable, 0), []string{"PATH"}, built).taking(RestartApp),
	key("user", func(a *App) *string { return &a.User }, account, "", built).taking(RestartApp),
	key("group", func(a *App) *string { return &a.Group }, account, "", built).taking(RestartApp),
	key("umask", func(a *App) *uint32 { return &a.Umask }, octal, 0o022, built).taking(RestartApp),
	table("rlimit", func(a *App) *Rlimit { return &a.Rlimit }, rlimitRows, built).taking(RestartApp),
	key("scale", func(a *App) *string { return &a.Scale }, oneOf("static", "dynamic", "ondemand"), "dynamic", built).taking(RetuneApp),
	key("min", func(a *App) *int { return &a.Min }, whole(0, many), 1, built).taking(RetuneApp),
	key("max", func(a *App) *int { return &a.Max }, whole(1, many), 4, built).taking(RetuneApp),
	key("spare", func(a *App) *int { return &a.Spare }, whole(0, many), 1, built).taking(RetuneApp),
	key("connections", func(a *App) *int { return &a.Connections }, whole(1, many), 1, built).taking(RetuneApp),
	key("max_requests", func(a *App) *int { return &a.MaxRequests }, whole(0, many), 0, built).taking(RetuneApp),
	key("max_age", func(a *App) *time.Duration { return &a.MaxAge }, duration(0), 0, built).taking(RetuneApp),
	key("max_memory", func(a *App) *int64 { return &a.MaxMemory }, size(0), 0, built).taking(RetuneApp),
	key("idle_timeout", func(a *App) *time.Duration { return &a.IdleTimeout }, duration(positive), 60*time.Second, built).taking(RetuneApp),
	key("start_timeout", func(a *App) *time.Duration { return &a.StartTimeout }, duration(positive), 10*time.Second, built).taking(RetuneApp),
	key("connect_timeout", func(a *App) *time.Duration { return &a.ConnectTimeout }, duration(positive), time.Second, built).taking(NewGeneration),
	key("header_timeout", func(a *App) *time.Duration { return &a.HeaderTimeout }, duration(positive), 60*time.Second, built).taking(NewGeneration),
	key("header_bytes", func(a *App) *int64 { return &a.HeaderBytes }, size(1), 256<<10, built).taking(NewGeneration),
	key("read_timeout", func(a *App) *time.Duration { return &a.ReadTimeout }, duration(positive), 60*time.Second, built).taking(NewGeneration),
	key("request_timeout", func(a *App) *time.Duration { return &a.RequestTimeout }, duration(0), 0, built).taking(NewGeneration),
	key("stop_signal", func(a *App) *string { return &a.StopSignal }, signal, "TERM", built).taking(RetuneApp),
	key("stop_grace", func(a *App) *time.Duration { return &a.StopGrace }, duration(0), 5*time.Second, built).taking(RetuneApp),
	key("queue", func(a *App) *int { return &a.Queue }, whole(0, many), 64, built).taking(RetuneApp),
	key("queue_timeout", func(a *App) *time.Duration { return &a.QueueTimeout }, duration(0), 10*time.Second, built).taking(RetuneApp),
	key("keepalive", func(a *App) *bool { return &a.Keepalive }, boolean, true, built).taking(NewGeneration),
	key("max_conns", func(a *App) *int { return &a.MaxConns }, whole(1, many), 16, built).taking(RetuneApp),
	key("balance", func(a *App) *string { return &a.Balance }, oneOf("least_conn", "round_robin", "hash", "random_two"), "least_conn", built).taking(RetuneApp),
	key("max_fails", func(a *App) *int { return &a.MaxFails }, whole(0, many), 3, built).taking(RetuneApp),
	key("fail_timeout", func(a *App) *time.Duration { return &a.FailTimeout }, duration(positive), 10*time.Second, built).taking(RetuneApp),
	key("pass_authorization", func(a *App) *bool { return &a.PassAuthorization }, boolean, false, built).taking(NewGeneration),
	key("stderr_rate", func(a *App) *Rate { return &a.StderrRate }, rate, Rate{100, time.Second}, built).taking(RetuneApp),
	key("limit_rate", func(a *App) *int64 { return &a.LimitRate }, size(0), 0, built).taking(NewGeneration),
	key("release", func(a *App) *string { return &a.Release }, oneOf("drain", "close", "detach"), "drain", built).taking(NewGeneration),
	key("release_bytes", func(a *App) *int64 { return &a.ReleaseBytes }, size(0), 64<<10, built).taking(NewGeneration),
	key("release_timeout", func(a *App) *time.Duration { return &a.ReleaseTimeout }, duration(0), time.Second, built).taking(NewGeneration),
	key("background", func(a *App) *time.Duration { return &a.Background }, duration(0), 30*time.Second, built).taking(NewGeneration),
	table("send_file", func(a *App) *SendFile { return &a.SendFile }, sendFileRows, built).taking(NewGeneration),
}

var rlimitRows = schema[Rlimit]{
	key("memory", func(r *Rlimit) *int64 { return &r.Memory }, size(1), 0, built).onlyWhen(func(r *Rlimit) bool { return r.Memory > 0 }),
	key("cpu", func(r *Rlimit) *time.Duration { return &r.CPU }, wholeSeconds, 0, built).onlyWhen(func(r *Rlimit) bool { return r.CPU > 0 }),
	key("files", func(r *Rlimit) *int64 { return &r.Files }, whole[int64](3, many), 0, built).onlyWhen(func(r *Rlimit) bool { return r.Files > 0 }),
	key("processes", func(r *Rlimit) *int64 { return &r.Processes }, whole[int64](1, many), 0, built).onlyWhen(func(r *Rlimit) bool { return r.Processes > 0 }),
}

var sendFileRows = schema[SendFile]{
	key("headers", func(s *SendFile) *[]string { return &s.Headers }, words(sendFileHeaders...), sendFileHeaders, built),
	key("roots", func(s *SendFile) *[]string { return &s.Roots }, set(file, 0), nil, built),
	key("delete_roots", func(s *SendFile) *[]string { return &s.DeleteRoots }, set(file, 0), nil, built),
	key("decode", func(s *SendFile) *bool { return &s.Decode }, boolean, true, built),
	key("symlinks", func(s *SendFile) *string { return &s.Symlinks }, oneOf("beneath", "deny", "follow"), "beneath", built),
	key("reproxy", func(s *SendFile) *[]string { return &s.Reproxy }, set(urlPrefix, 0), nil, built),
	key("type", func(s *SendFile) *string { return &s.Type }, oneOf("keep", "file", "default"), "keep", built),
	key("precompressed", func(s *SendFile) *bool { return &s.Precompressed }, boolean, false, built),
	key("on_complete", func(s *SendFile) *string { return &s.OnComplete }, urlPath, "", built),
}
