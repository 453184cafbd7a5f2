package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/template"
)

// server is one column of the comparison.
type server struct {
	name    string
	program string // looked for in PATH; "": this harness provides it
	kinds   []kind // what it can do
	start   func(context.Context, *bench, *instance) error
	variant bool   // of another: only under loads on kept connections
	release string // sluice with that release policy: only where these are compared
}

var allKinds = []kind{kindFastCGI, kindPHP, kindCGI, kindFile, kindSend, kindCold}

// servers are in the order of the tables. sluice-many, nginx-1, nginx-nokeep, nginx-cache and
// nginx-aio are sluice or nginx with one thing changed.
var servers = []server{
	{"sluice", "", allKinds, startSluice, false, ""},
	{"sluice-close", "", []kind{kindSend}, startSluice, false, "close"},
	{"sluice-detach", "", []kind{kindSend}, startSluice, false, "detach"},
	{"sluice-many", "", []kind{kindFastCGI}, startSluice, true, ""},
	{"nginx", "nginx", allKinds, startNginx, false, ""},
	{"nginx-1", "nginx", []kind{kindFastCGI, kindFile, kindSend}, startNginx, true, ""},
	{"nginx-nokeep", "nginx", []kind{kindFastCGI}, startNginx, true, ""},
	{"nginx-cache", "nginx", []kind{kindFile, kindSend}, startNginx, true, ""},
	{"nginx-aio", "nginx", []kind{kindCold}, startNginx, false, ""},
	{"lighttpd", "lighttpd", allKinds, startLighttpd, false, ""},
	{"apache", "apache2", []kind{kindFastCGI, kindPHP, kindCGI, kindFile}, startApache, false, ""},
}

func serverNames() []string {
	var names []string
	for _, s := range servers {
		names = append(names, s.name)
	}
	return names
}

// instance is one server started for one scenario.
type instance struct {
	server
	scenario scenario
	dir      string
	port     int
	front    []*process // their processes count as the front end
	others   []*process // children that this harness started for it
}

// site is what the configuration templates see.
type site struct {
	Dir       string // of this instance; writable
	Port      int
	Root      string   // document root
	Files     string   // root of X-Sendfile
	Path      string   // asked for
	Children  int      // long-lived ones
	Script    string   // Path as mod_proxy_fcgi has to pass it
	User      string   // to drop to; "": started by an ordinary user
	Modules   string   // Apache's
	Sockets   []string // FastCGI applications to connect to
	Words     []string // FastCGI application to spawn
	Command   string   // the same as one string
	Match     string   // lighttpd's pattern for it
	PHP       bool
	CGI       bool
	Send      bool
	Keep      bool // keep connections to the children
	FileCache bool
	Threads   bool   // nginx reads files in threads
	Cold      bool   // the servers' account may not write the files
	Many      bool   // files, of which lighttpd keeps all open for a while
	Held      int    // connections to be able to hold; 0: a few
	Workers   int    // of sluice and nginx; 0: sluice's default, a process for each CPU
	More      string // lines of sluice's [[app]] block
	Log       string // level of sluice's log; "": its default
}

// site makes the template's values; sockets and words depend on the server.
func (in *instance) site(b *bench) site {
	s := in.scenario
	path, _, _ := strings.Cut(s.path, "?")
	return site{
		Dir: in.dir, Port: in.port, Root: b.root, Files: b.files, User: b.user,
		Path: path, Script: path, Match: path, Children: s.children(), Held: s.held,
		More: s.app + in.policy(),
		Many: s.many != nil,
		PHP:  s.kind == kindPHP, CGI: s.kind == kindCGI, Send: s.kind == kindSend, Cold: s.kind == kindCold,
	}
}

// policy is the line for the server's release policy.
func (in *instance) policy() string {
	if in.release == "" {
		return ""
	}
	return fmt.Sprintf("release = %q\n", in.release)
}

// Room is a server's limit of connections, or of files, for Held and a few more.
func (st site) Room() int { return st.Held + 500 }

// Descriptors is lighttpd's limit of descriptors: from 90 % of it it accepts no more.
func (st site) Descriptors() int { return 2 * st.Held }

// spawn fills in the application for a server that spawns its children.
func (st *site) spawn(b *bench, in *instance) error {
	switch in.scenario.kind {
	case kindFastCGI:
		st.Words = b.child(in.name == sluiceMany, "")
		if in.name == sluiceMany {
			st.More += "connections = 16\n"
		}
	case kindSend:
		st.Words = in.sender(b, "X-Sendfile="+filepath.Join(b.files, in.scenario.sends()))
	case kindPHP:
		path, err := lookPath("php-cgi")
		if err != nil {
			return err
		}
		st.Words, st.Match = []string{path}, ".php"
	}
	st.Command = strings.Join(st.Words, " ")
	return nil
}

// child is the command line of the FastCGI application.
func (b *bench) child(multi bool, header string) []string {
	words := []string{b.self, "-child", "fastcgi"}
	if multi {
		words = append(words, "-multi")
	}
	if header != "" {
		words = append(words, "-header", header)
	}
	return words
}

// sends is the file that the application names below the send root.
func (s scenario) sends() string {
	if s.many != nil {
		return s.many.pattern()
	}
	return s.file
}

// sender is the command line of the application that names a file.
func (in *instance) sender(b *bench, header string) []string {
	words := append(b.child(false, header), in.scenario.child...)
	if m := in.scenario.many; m != nil {
		words = append(words, "-many", strconv.Itoa(m.count))
	}
	if len(in.scenario.child) > 0 {
		words = append(words, "-gaps", filepath.Join(in.dir, gapsFile))
	}
	return words
}

// attach starts the application for a server that only connects to it: one
// socket for each child when private, else one for all.
func (in *instance) attach(b *bench, st *site, private bool, command []string) error {
	var listener *os.File
	for i := range in.scenario.children() {
		if listener == nil || private {
			path := filepath.Join(in.dir, fmt.Sprintf("child-%d.sock", i))
			f, err := listenUnix(path)
			if err != nil {
				return err
			}
			defer f.Close()
			listener = f
			st.Sockets = append(st.Sockets, path)
		}
		p, err := b.procs.start(launch{name: in.name + " child", dir: in.dir, argv: command, stdin: listener})
		if err != nil {
			return err
		}
		in.others = append(in.others, p)
	}
	return nil
}

// attachFPM starts a php-fpm pool.
func (in *instance) attachFPM(b *bench, st *site) error {
	path, err := lookPath("php-fpm", "php-fpm8.2", "php-fpm8.3", "php-fpm8.4")
	if err != nil {
		return err
	}
	conf, err := in.write("php-fpm.conf", *st)
	if err != nil {
		return err
	}
	p, err := b.procs.start(launch{name: in.name + " php-fpm", dir: in.dir, argv: []string{path, "-F", "-y", conf}})
	if err != nil {
		return err
	}
	in.others = append(in.others, p)
	st.Sockets = []string{filepath.Join(in.dir, "fpm.sock")}
	return nil
}

// run starts the front end itself.
func (in *instance) run(b *bench, argv ...string) error {
	p, err := b.procs.start(launch{name: in.name, dir: in.dir, argv: argv})
	if err == nil {
		in.front = append(in.front, p)
	}
	return err
}

// url is what the load asks for.
func (in *instance) url() string {
	return fmt.Sprintf("http://127.0.0.1:%d%s", in.port, in.scenario.path)
}

//go:embed *.conf *.toml
var configurations embed.FS

// write fills the embedded template of that name into the instance's folder.
func (in *instance) write(name string, st site) (path string, err error) {
	path = filepath.Join(in.dir, name)
	text, err := expand(name, st)
	if err != nil {
		return path, err
	}
	return path, os.WriteFile(path, text, 0o644)
}

func expand(name string, st site) ([]byte, error) {
	quote := func(parts ...string) string { return strconv.Quote(strings.Join(parts, "")) }
	t, err := template.New(name).Funcs(template.FuncMap{"quote": quote}).ParseFS(configurations, name)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if err := t.Execute(&text, st); err != nil {
		return nil, err
	}
	return text.Bytes(), nil
}

// listenUnix makes a listening socket that any user may connect to.
func listenUnix(path string) (*os.File, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	defer l.Close()
	f, err := l.File()
	return f, errors.Join(err, os.Chmod(path, 0o666), blocking(f))
}

// freePort finds a TCP port that nothing uses now.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// can says whether the server takes part in the scenario.
func (s server) can(sc scenario) bool {
	if s.release != "" && !sc.policies || s.variant && (sc.trial != nil || sc.download || sc.connect) {
		return false
	}
	return slices.Contains(s.kinds, sc.kind)
}
