package assemble

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"sluice/cgi"
	"sluice/fcgi"
	"sluice/internal/config"
	"sluice/internal/exchange"
	"sluice/internal/front"
	"sluice/internal/front/http1"
	"sluice/internal/front/peer"
	"sluice/internal/poll"
	"sluice/internal/scoreboard"
	"sluice/internal/securelink"
	"sluice/sendfile"
	"sluice/spawner"
)

// Inputs are what a worker has beside its configuration.
type Inputs struct {
	Version  string
	Log      *slog.Logger
	Access   io.Writer               // nil: no access log
	Sockets  string                  // folder of the children's sockets
	Label    func(app string) string // what their names begin with; nil: the app's name
	Report   func(r spawner.Report)  // to the supervisors
	Scripts  func(a *config.App) cgi.Starter
	Ledger   func(name string) spawner.Ledger // of those that Ledgers names
	PassFrom []string                         // the environment that pass_env picks from
	Place    *scoreboard.Place                // nil: none
	Seats    *peer.Seats                      // nil: a client may have any number of connections
	Slow     func(front.Slow)                 // gets slow requests; nil: there is no slow log
	Set      *poll.Set                        // of the connections; nil: the children are reached by net's
	Dry      bool                             // nothing will be served: secrets may be missing
}

// Worker is a configuration in the form that serves requests.
type Worker struct {
	Front   http1.Options
	Handler *front.Handler
	Pools   map[string]*spawner.Pool // by app, where the supervisor owns the children
	Files   *sendfile.Cache          // files of every origin; nil: none are kept open
	// ProxyFrom are, for each listener of the configuration, the peers that have to
	// send a PROXY header.
	ProxyFrom []*peer.Networks

	reads *sendfile.Reads // of files of every origin
}

// NewWorker assembles a worker. Its errors are programming errors or what only
// the running system can tell, since the configuration has been validated.
func NewWorker(c *config.Config, in Inputs) (*Worker, error) {
	w := &Worker{Pools: map[string]*spawner.Pool{}, reads: sendfile.NewReads(c.Send.IOThreads, c.Send.IOQueue)}
	w.Files = sendfile.NewCache(c.Send.Cache, w.reads)
	apps, tells := map[string]*front.App{}, false
	for _, a := range c.Apps {
		app, err := w.app(c, a, in)
		if err != nil {
			return nil, fmt.Errorf("app %q: %w", a.Name, err)
		}
		apps[a.Name] = app
		tells = tells || app.OnComplete != ""
	}
	var sites []*front.Site
	place := 0
	for _, s := range c.Sites {
		f, err := w.site(s, apps, place, in.Dry)
		if err != nil {
			return nil, err
		}
		sites = append(sites, f)
		place += len(s.Routes)
	}
	w.Handler = &front.Handler{
		Sites:    front.NewSites(sites),
		Software: "sluice/" + in.Version,
		Log:      in.Log,
		Reads:    w.reads,
		Shed:     &front.Shed{Type: sendfile.TypeOf(c.Send.ShedFile, nil), Body: c.Send.Shed},
	}
	if tells {
		w.Handler.Completions = front.NewCompletions(w.Handler)
	}
	var err error
	if w.Handler.Proxies, err = peer.ParseNetworks(c.Limits.TrustedProxies); err != nil {
		return nil, fmt.Errorf("trusted_proxies: %w", err)
	}
	for _, l := range c.Listeners {
		n, err := peer.ParseNetworks(l.ProxyFrom)
		if err != nil {
			return nil, fmt.Errorf("proxy_from: %w", err)
		}
		w.ProxyFrom = append(w.ProxyFrom, n)
	}
	w.Handler.Tracking = tracking(c, in)
	if in.Access != nil {
		w.Handler.Access = &front.AccessLog{Out: in.Access, Format: formats[c.Log.Format]}
	}
	w.Front = http1.Options{
		Handler:           http.Handler(w.Handler),
		Set:               in.Set,
		Log:               in.Log,
		Connections:       c.Limits.Connections,
		HeaderBytes:       int(c.Limits.HeaderBytes),
		HeaderTimeout:     c.Limits.HeaderTimeout,
		KeepaliveIdle:     c.Limits.KeepaliveIdle,
		KeepaliveRequests: c.Limits.KeepaliveRequests,
		SendTimeout:       c.Limits.SendTimeout,
		AnswerHalfClosed:  c.Limits.HalfClose == "answer",
		Refuse:            c.Limits.AtLimit == "refuse",
		Seats:             in.Seats,
		Place:             in.Place,
		Linger:            linger(c),
	}
	return w, nil
}

// tracking is nil where nobody wants to know anything of the requests.
func tracking(c *config.Config, in Inputs) *front.Tracking {
	t := &front.Tracking{Place: in.Place, Times: c.Status.Extended, Report: in.Slow}
	if in.Slow != nil {
		t.Slow = c.Log.Slow
	}
	if t.Place == nil && t.Slow == 0 {
		return nil
	}
	return t
}

// linger is how connections end.
func linger(c *config.Config) http1.Linger {
	mode, _ := http1.ParseLingerMode(c.Linger.Mode)
	return http1.Linger{Mode: mode, Idle: c.Linger.Idle, Total: c.Linger.Total, Max: c.Linger.Max}
}

var formats = map[string]front.Format{"common": front.Common, "combined": front.Combined, "json": front.JSON}

var releases = map[string]exchange.ReleasePolicy{"drain": exchange.Drain, "close": exchange.Close, "detach": exchange.Detach}

var roles = map[string]fcgi.Role{"responder": fcgi.Responder, "authorizer": fcgi.Authorizer, "filter": fcgi.Filter}

var slashes = map[string]front.SlashPolicy{"refuse": front.RefuseSlashes, "decode": front.DecodeSlashes, "keep": front.KeepSlashes}

func (w *Worker) app(c *config.Config, a *config.App, in Inputs) (*front.App, error) {
	log := in.Log.With("app", a.Name)
	sender, err := w.sender(a)
	if err != nil {
		return nil, err
	}
	x := &exchange.App{
		Name:           a.Name,
		Sender:         sender,
		Fetcher:        fetcher(a),
		LimitRate:      a.LimitRate,
		Log:            log,
		HeaderBytes:    int(a.HeaderBytes),
		HeaderTimeout:  a.HeaderTimeout,
		ReadTimeout:    a.ReadTimeout,
		RequestTimeout: a.RequestTimeout,
		Release:        releases[a.Release],
		ReleaseBytes:   a.ReleaseBytes,
		ReleaseTimeout: a.ReleaseTimeout,
		Body: exchange.BodyLimits{Bytes: c.Limits.BodyBytes, Memory: c.Limits.BodyMemory, Dir: c.SpoolDir,
			Timeout: c.Limits.SendTimeout, Rate: c.Limits.BodyRate, Spare: w.Files.Release},
		Response: exchange.SpoolLimits{Memory: c.Limits.ResponseMemory, File: c.Limits.ResponseBytes, Dir: c.SpoolDir, Spare: w.Files.Release},
		Spare:    w.Files.Release,
	}
	f := &front.App{App: x, Filter: roles[a.Role] == fcgi.Filter, ScriptRoot: a.ScriptRoot, Env: a.Env, PassAuthorization: a.PassAuthorization,
		OnComplete: a.SendFile.OnComplete, Records: in.Place.Records(a.Name)}
	stderr := errorLog(a, in.Log)
	if a.Kind == config.KindCGI {
		f.Scripts, f.Dir = true, a.Dir
		f.Env = scriptEnv(a, in.PassFrom)
		if f.Interpreter, err = interpreter(a); err != nil {
			return nil, err
		}
		x.Backend = scripts(a, in, log, stderr)
		return f, nil
	}
	b := &exchange.FastCGI{Role: roles[a.Role], WriteTimeout: a.ReadTimeout, Stderr: stderr}
	if len(a.Address) > 0 {
		b.Pool, b.ByURL, x.Patience = w.upstreams(a, in, log), a.Balance == "hash", a.ConnectTimeout
	} else {
		b.Pool = w.pool(c, a, in, func() { b.AskValues(a.Connections, log) })
	}
	x.Backend = b
	return f, nil
}

func (w *Worker) sender(a *config.App) (*sendfile.Sender, error) {
	links, err := sendfile.ParseSymlinks(a.SendFile.Symlinks)
	if err != nil {
		return nil, err
	}
	types, err := sendfile.ParseTypePolicy(a.SendFile.Type)
	if err != nil {
		return nil, err
	}
	headers := append([]string{}, a.SendFile.Headers...) // none is not all
	return sendfile.New(sendfile.Options{Headers: headers, Roots: a.SendFile.Roots, DeleteRoots: a.SendFile.DeleteRoots,
		Reproxy: a.SendFile.Reproxy, Precompressed: a.SendFile.Precompressed, Decode: a.SendFile.Decode, Symlinks: links, Type: types,
		Files: w.Files, Reads: w.reads})
}

// fetcher is nil where no URL may be fetched. Its connections are the app's, as its
// timeouts are.
func fetcher(a *config.App) *sendfile.Fetcher {
	if len(a.SendFile.Reproxy) == 0 {
		return nil
	}
	return sendfile.NewFetcher(sendfile.FetchOptions{Connect: a.ConnectTimeout, Header: a.HeaderTimeout, Read: a.ReadTimeout})
}

func errorLog(a *config.App, log *slog.Logger) *cgi.ErrorLog {
	return &cgi.ErrorLog{App: a.Name, Log: log, Lines: a.StderrRate.Count, Per: a.StderrRate.Per}
}

// scriptEnv is the operator's part of a script's environment: what is passed on
// of sluice's own, and env, which beats it.
func scriptEnv(a *config.App, from []string) map[string]string {
	m := map[string]string{}
	for _, kv := range passed(a, from) {
		k, v, _ := strings.Cut(kv, "=")
		m[k] = v
	}
	for k, v := range a.Env {
		m[k] = v
	}
	return m
}

// passed picks what pass_env names out of an environment.
func passed(a *config.App, from []string) []string {
	var env []string
	for _, name := range a.PassEnv {
		for _, kv := range from {
			if strings.HasPrefix(kv, name+"=") {
				env = append(env, kv)
			}
		}
	}
	return env
}

func scripts(a *config.App, in Inputs, log *slog.Logger, stderr *cgi.ErrorLog) *exchange.Scripts {
	return &exchange.Scripts{
		Starter: in.Scripts(a),
		Ledger:  in.Ledger(a.Name),
		Options: cgi.Options{StopSignal: StopSignal(a.StopSignal), StopGrace: a.StopGrace, Background: a.Background,
			Stderr: stderr.For, Poller: in.poller()},
		Log:   log,
		Loose: in.Ledger(looseName(a)),
	}
}

// upstreams are somebody else's children: who else wants them is not known, so
// no connection is kept (it would pin one).
func (w *Worker) upstreams(a *config.App, in Inputs, log *slog.Logger) *spawner.Pool {
	o := spawner.PoolOptions{App: a.Name, ConnectTimeout: a.ConnectTimeout, Ledger: in.Ledger(a.Name),
		Down: func(t spawner.Target, down bool) {
			if down {
				log.Warn("address is out after its failures", "address", t.Address, "max_fails", a.MaxFails, "for", a.FailTimeout)
			} else {
				log.Info("address is back", "address", t.Address)
			}
		}}
	o.Dial = w.dial(in)
	for _, t := range a.Address {
		o.Targets = append(o.Targets, spawner.Target{Network: t.Network, Address: t.Address})
	}
	return spawner.NewPool(o)
}

// dial connects to unix sockets within the set. A child is worth more than a file
// that is kept open.
func (w *Worker) dial(in Inputs) func(network, path string, timeout time.Duration) (net.Conn, error) {
	if in.Set == nil {
		return nil
	}
	return func(_, path string, _ time.Duration) (net.Conn, error) {
		c, err := in.Set.Dial(path)
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			w.Files.Release()
			c, err = in.Set.Dial(path)
		}
		return c, err
	}
}

// pool is of sluice's own children. Connections to them are kept only if no
// other worker can want the same child. Where one is to take several requests at
// once, the first is asked what it thinks of that.
func (w *Worker) pool(c *config.Config, a *config.App, in Inputs, ask func()) *spawner.Pool {
	o := spawner.PoolOptions{App: a.Name, ConnectTimeout: a.ConnectTimeout, Ledger: in.Ledger(a.Name),
		KeepAlive: a.Keepalive && c.Workers == 1, Report: in.Report}
	o.Dial = w.dial(in)
	if a.Connections > 1 {
		o.Began = ask
	}
	label := a.Name
	if in.Label != nil {
		label = in.Label(a.Name)
	}
	for i := range a.Max {
		o.Targets = append(o.Targets, spawner.Target{Network: "unix", Address: spawner.SocketPath(in.Sockets, label, i)})
	}
	p := spawner.NewPool(o)
	w.Pools[a.Name] = p
	return p
}

// site assembles a site; place is the number of its first route.
func (w *Worker) site(s *config.Site, apps map[string]*front.App, place int, dry bool) (*front.Site, error) {
	f := &front.Site{
		Hosts:          s.Hosts,
		Root:           strings.TrimSuffix(s.Root, "/"),
		Index:          s.Index,
		Fallback:       s.Fallback,
		HideDotfiles:   s.Dotfiles == "hide",
		FollowSymlinks: s.FollowSymlinks,
		Types:          s.Types,
		Files:          w.Files,
	}
	for i, r := range s.Routes {
		link, err := link(r, dry)
		if err != nil {
			return nil, err
		}
		f.Routes = append(f.Routes, &front.Route{
			Place:      place + i,
			Text:       r.Match.Text,
			Exact:      r.Match.Exact,
			Prefix:     r.Match.Prefix,
			Ending:     r.Match.Ending,
			App:        apps[r.App],
			Authorizer: apps[r.Authorizer],
			Link:       link,
			Dir:        strings.TrimSuffix(r.Dir, "/"),
			Script:     r.Script,
			Alias:      r.Alias,
			Static:     r.Static,
			Deny:       r.Deny,
			Internal:   r.Internal,
			Env:        r.Env,
			Slashes:    slashes[r.EncodedSlashes],
			Stream:     r.StreamResponse,
		})
	}
	return f, nil
}

// link is how the signed links of a route are checked; nil: it has none.
func link(r *config.Route, dry bool) (*securelink.Guard, error) {
	if r.SecureLink == nil {
		return nil, nil
	}
	if len(r.SecureLink.Secret) == 0 && !dry {
		return nil, fmt.Errorf("route %q: the secret of its links has not been read", r.Match.Text)
	}
	return &securelink.Guard{Key: r.SecureLink.Secret, Client: r.SecureLink.BindClient}, nil
}

// OpenLog opens a log file for appending; it is created for its owner and group
// to read.
func OpenLog(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
}
