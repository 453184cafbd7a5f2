package config

var siteRows = schema[Site]{
	key("hosts", func(s *Site) *[]string { return &s.Hosts }, set(host, 0), nil, built).onlyWhen(func(s *Site) bool { return len(s.Hosts) > 0 }),
	key("root", func(s *Site) *string { return &s.Root }, file, "", built),
	key("index", func(s *Site) *[]string { return &s.Index }, set(fileName, 0), []string{"index.html"}, built),
	key("fallback", func(s *Site) *string { return &s.Fallback }, urlPath, "", built),
	key("dotfiles", func(s *Site) *string { return &s.Dotfiles }, oneOf("hide", "show"), "hide", built),
	key("follow_symlinks", func(s *Site) *bool { return &s.FollowSymlinks }, boolean, true, built),
	key("types", func(s *Site) *map[string]string { return &s.Types }, mediaTypes, nil, built),
	tables("route", "match", (*Route).names, func(s *Site) *[]*Route { return &s.Routes }, routeRows),
}

var routeRows = schema[Route]{
	key("match", func(r *Route) *Match { return &r.Match }, match, Match{}, built),
	key("app", func(r *Route) *string { return &r.App }, reference, "", built),
	key("dir", func(r *Route) *string { return &r.Dir }, file, "", built),
	key("script", func(r *Route) *string { return &r.Script }, file, "", built),
	key("alias", func(r *Route) *string { return &r.Alias }, file, "", built),
	key("static", func(r *Route) *bool { return &r.Static }, boolean, false, built),
	key("deny", func(r *Route) *bool { return &r.Deny }, boolean, false, built),
	key("internal", func(r *Route) *bool { return &r.Internal }, boolean, false, built),
	key("env", func(r *Route) *map[string]string { return &r.Env }, variables, nil, built).unseen(),
	key("authorizer", func(r *Route) *string { return &r.Authorizer }, reference, "", built),
	key("encoded_slashes", func(r *Route) *string { return &r.EncodedSlashes }, oneOf("refuse", "decode", "keep"), "refuse", built),
	key("stream_body", func(r *Route) *bool { return &r.StreamBody }, boolean, false, only(false)),
	key("stream_response", func(r *Route) *bool { return &r.StreamResponse }, boolean, false, built),
	key("secure_link", func(r *Route) **SecureLink { return &r.SecureLink }, record(secureLinkRows), nil, built),
}

var secureLinkRows = schema[SecureLink]{
	key("secret_file", func(s *SecureLink) *string { return &s.SecretFile }, file, "", built),
	key("bind_client", func(s *SecureLink) *bool { return &s.BindClient }, boolean, false, built),
}
