package assemble

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"sluice/cgi"
	"sluice/internal/config"
	"sluice/internal/front"
	"sluice/sendfile"
	"sluice/spawner"
)

// ScriptOptions are how the scripts of an app are started. as is nil for: as
// this process.
func ScriptOptions(a *config.App, as *spawner.Identity) spawner.ScriptOptions {
	return spawner.ScriptOptions{Umask: int(a.Umask), Rlimits: rlimits(a.Rlimit), As: as, Stop: StopSignal(a.StopSignal)}
}

// interpreter is the program that runs the scripts of an app, found in PATH,
// with its arguments; nil: they are executed themselves.
func interpreter(a *config.App) ([]string, error) {
	if len(a.Command) == 0 {
		return nil, nil
	}
	path, err := spawner.LookPath(a.Command[0])
	if err != nil {
		return nil, err
	}
	return append([]string{path}, a.Command[1:]...), nil
}

// Place is a route whose scripts run as another user than the workers. It is
// what the master goes by when a worker asks for one: a worker that was taken
// over can name a script below the route's folder, and nothing else.
type Place struct {
	App     *config.App
	Options spawner.ScriptOptions

	folder      string // of the scripts, with its slash; "": script
	script      string // the one of the route
	within      string // path below the folder, or above which, the scripts are
	ending      string
	links       sendfile.Symlinks
	hide        bool // names that begin with a dot
	root        string
	interpreter []string
	operator    map[string]string // what the operator's words for the environment are
	may         func(name string) bool
}

// Places are the routes of a configuration in the order of its text, which both
// the master and the worker know: the index is cgi.Command.Place. A route whose
// scripts are the worker's own is nil. from is what pass_env picks from.
func Places(c *config.Config, ids *Identities, from []string) ([]*Place, error) {
	apart := map[string]*config.App{}
	for _, a := range c.Apps {
		if ids.Apart(a) {
			apart[a.Name] = a
		}
	}
	var all []*Place
	for _, s := range c.Sites {
		for _, r := range s.Routes {
			var p *Place
			if a := apart[r.App]; a != nil {
				p = place(s, r, a)
				p.Options = ScriptOptions(a, ids.App(a))
				p.operator = scriptEnv(a, from)
				for k, v := range r.Env {
					p.operator[k] = v
				}
				var err error
				if p.interpreter, err = interpreter(a); err != nil {
					return nil, fmt.Errorf("app %q: %w", a.Name, err)
				}
			}
			all = append(all, p)
		}
	}
	return all, nil
}

// Names are, by the number of its route, which variables a worker may say for a
// script that the master starts; nil where none runs.
func Names(c *config.Config) []func(name string) bool {
	apps := map[string]*config.App{}
	for _, a := range c.Apps {
		apps[a.Name] = a
	}
	var all []func(string) bool
	for _, s := range c.Sites {
		for _, r := range s.Routes {
			var f func(string) bool
			if a := apps[r.App]; a != nil {
				f = names(r, a)
			}
			all = append(all, f)
		}
	}
	return all
}

// names are the meta-variables, and where there is an authorizer what RFC 3875
// has for its word. Others of an authorizer's might steer a loader or an
// interpreter.
func names(r *config.Route, a *config.App) func(string) bool {
	meta := cgi.Meta{PassAuthorization: a.PassAuthorization}
	return func(name string) bool {
		return meta.Sets(name) || r.Authorizer != "" && (name == "REMOTE_USER" || name == "AUTH_TYPE")
	}
}

// place is where front.Site.Resolve looks for the scripts of a route.
func place(s *config.Site, r *config.Route, a *config.App) *Place {
	p := &Place{App: a, may: names(r, a), root: strings.TrimSuffix(s.Root, "/"), ending: r.Match.Ending, hide: s.Dotfiles == "hide",
		links: sendfile.Beneath}
	if !s.FollowSymlinks {
		p.links = sendfile.Deny
	}
	prefix := strings.TrimSuffix(r.Match.Prefix, "/")
	switch {
	case r.Dir != "":
		p.folder = strings.TrimSuffix(r.Dir, "/") + "/"
	case r.Match.Ending != "":
		p.folder = p.root + prefix + "/"
	case r.Script != "":
		p.script = r.Script
	default:
		p.folder, p.within = p.root+"/", strings.TrimPrefix(prefix, "/")
	}
	return p
}

// Command is the program for a script of the place and a request. script is its
// path below the folder, "" where the route names it; meta are the
// meta-variables, without what is the operator's. Neither is trusted.
//
// The error says EACCES for what is no script, ENOENT for a missing one, EINVAL
// for what no worker asks for.
func (p *Place) Command(script string, meta []string) (cgi.Command, error) {
	file := p.script
	if p.folder != "" {
		file = p.folder + script
		if err := p.look(script); err != nil {
			return cgi.Command{}, &os.PathError{Op: "find script", Path: file, Err: err}
		}
	} else if script != "" {
		return cgi.Command{}, &os.PathError{Op: "find script", Path: script, Err: syscall.EINVAL}
	}
	c := cgi.Command{Path: file, Args: []string{file}, Dir: p.App.Dir, Script: file, Folder: p.folder}
	if n := p.interpreter; len(n) > 0 {
		c.Path, c.Args = n[0], append(n[:len(n):len(n)], file)
	}
	if c.Dir == "" {
		c.Dir = filepath.Dir(file)
	}
	var err error
	c.Env, err = p.environment(file, meta)
	return c, err
}

// look looks for a script below the folder. A link out of it is refused even
// where the site follows links: what it leads to is not what the route names.
//
// That the file is executed by its name afterwards is no matter: who can put
// another one there could write what he wants into this one.
func (p *Place) look(script string) error {
	switch {
	case script == "" || strings.IndexByte(script, 0) >= 0 || !filepath.IsLocal(script) || path.Clean(script) != script:
		return syscall.EINVAL
	case !strings.HasSuffix(script, p.ending) || path.Base(script) == p.ending:
		return syscall.EACCES
	case p.within != "" && !under(script, p.within) && !under(p.within, script):
		return syscall.EACCES
	case p.hide && front.Hidden("/"+script):
		return syscall.EACCES
	}
	f, err := sendfile.OpenBeneath(p.folder, script, p.links)
	var e *sendfile.Error
	switch {
	case err == nil:
		return f.Close()
	case errors.As(err, &e) && e.Status == http.StatusNotFound:
		return syscall.ENOENT
	case errors.As(err, &e) && e.Status == http.StatusForbidden:
		return syscall.EACCES
	}
	return err
}

// under reports whether the path is dir or lies below it.
func under(path, dir string) bool {
	rest, ok := strings.CutPrefix(path, dir)
	return ok && (rest == "" || rest[0] == '/')
}

// environment is what the worker's would be: its meta-variables, and over them
// what the operator says. Which file the script is, and where the site lies, is
// not for the worker to say: php-cgi runs what SCRIPT_FILENAME names.
func (p *Place) environment(file string, meta []string) ([]string, error) {
	env := make([]string, 0, len(meta)+len(p.operator))
	set := func(name, value string) {
		if _, ok := p.operator[name]; !ok {
			env = append(env, name+"="+value)
		}
	}
	for _, kv := range meta {
		name, value, ok := strings.Cut(kv, "=")
		if !ok || !p.may(name) {
			return nil, fmt.Errorf("variable %q is not for a worker to set: %w", name, syscall.EINVAL)
		}
		switch name {
		case "SCRIPT_FILENAME", "DOCUMENT_ROOT", "PATH_TRANSLATED":
			continue
		case "PATH_INFO":
			if p.root != "" {
				set("PATH_TRANSLATED", cgi.Translate(p.root, value))
			}
		}
		set(name, value)
	}
	set("SCRIPT_FILENAME", file)
	if p.root != "" {
		set("DOCUMENT_ROOT", p.root)
	}
	for name, value := range p.operator {
		env = append(env, name+"="+value)
	}
	slices.Sort(env)
	return env, nil
}
