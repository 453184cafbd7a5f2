package front

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"sluice/cgi"
	"sluice/internal/exchange"
	"sluice/internal/front/peer"
	"sluice/sendfile"
)

// maxRequestLine is the longest request target; beyond it 414.
const maxRequestLine = 16 << 10

// maxRedirects bounds the local redirects of one request.
const maxRedirects = 5

// Handler answers requests: it is the sites as an http.Handler.
type Handler struct {
	Sites    *Sites
	Software string // SERVER_SOFTWARE
	Log      *slog.Logger
	Access   *AccessLog // nil: none
	Tracking *Tracking  // nil: none
	// Completions tell applications what became of the files that they named; nil:
	// no app has an OnComplete.
	Completions *Completions
	// Proxies are those whose X-Forwarded-For and X-Forwarded-Proto are believed.
	Proxies *peer.Networks
	// Reads bounds the reads of files that are not in memory; nil: no bounds.
	Reads *sendfile.Reads
	Shed  *Shed // what is answered beyond them; not nil with Reads

	refusals sync.Map // app to *cgi.Cap: of the lines about requests that got 503
}

// A full queue, or an app in back-off, refuses thousands of requests a second: so
// many of an app are logged in that time, the others are counted.
const (
	refusalLines = 20
	refusalTime  = time.Second
)

// mayNote reports whether the log has room for a line about a refusal.
func (h *Handler) mayNote(app string) bool {
	c, _ := h.refusals.LoadOrStore(app, &cgi.Cap{Most: refusalLines, Per: refusalTime, LeftOut: func(n int) {
		h.Log.Warn("more requests were refused", "app", app, "requests", n)
	}})
	return c.(*cgi.Cap).Admit(time.Now())
}

// ServeHTTP answers one request and logs it.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rw := respond(w, r)
	h.answer(rw, h.forwarded(rw, r))
	rw.free() // not where a panic ends the connection: who knows who has it then
}

func (h *Handler) answer(rw *response, r *http.Request) {
	if h.Tracking != nil {
		rw.track = h.Tracking.begin(r, rw.conn)
		defer rw.track.end(rw)
	}
	if h.Access != nil {
		begin := time.Now()
		defer func() { h.Access.write(r, rw, begin) }()
	}
	if err := h.serve(rw, r); err != nil {
		h.failed(rw, r, err)
	}
}

// forwarded is the request as the client sent it to a proxy: everything that
// follows takes the client that a trusted one names for its own.
func (h *Handler) forwarded(w *response, r *http.Request) *http.Request {
	f, ok := h.Proxies.Forwarded(r.RemoteAddr, r.Header)
	if !ok {
		return r
	}
	w.https = f.HTTPS
	if f.Client == r.RemoteAddr {
		return r
	}
	n := *r
	n.RemoteAddr = f.Client
	return &n
}

// serve finds the target and answers, and once more for each redirect of a child.
func (h *Handler) serve(w *response, r *http.Request) error {
	if len(r.RequestURI) > maxRequestLine {
		w.Header().Set("Connection", "close")
		return answer(w, http.StatusRequestURITooLong)
	}
	site := h.Sites.Find(r.Host)
	if site == nil {
		return answer(w, http.StatusNotFound)
	}
	first, u, inside := r, r.URL, false
	for range maxRedirects + 1 {
		t := site.find(u, query{inside: inside, open: true})
		if done, err := h.unsigned(w, r, u, t, inside); done {
			return err
		}
		ans, err := h.authorize(w, r, u, t, inside)
		if err == nil && ans.Allowed {
			if t.App == nil && w.accel != nil {
				return h.accelerated(w, r, first, u, t)
			}
			if t.App == nil {
				return h.plain(w, r, u, t)
			}
			ans, err = h.exchange(w, r, t, ans.Variables)
		}
		switch {
		case err != nil:
			return err
		case ans.Accel != nil:
			w.accel, w.sender = after(w.accel, ans.Accel), t.App
			u = ans.Accel.URL
			r = inPlace(r, u)
		case ans.Redirect != "":
			if u, err = url.ParseRequestURI(ans.Redirect); err != nil {
				return &exchange.Error{Kind: exchange.BadHeader, Err: fmt.Errorf("local redirect: %w", err)}
			}
			r = redirected(r, u)
		default:
			return nil
		}
		inside = true
	}
	h.Log.Warn("too many local redirects", "request", r.RequestURI, "limit", maxRedirects)
	return answer(w, http.StatusInternalServerError)
}

// redirected is the request for the target of a local redirect: what a GET of
// it would be (RFC 3875 section 6.2.2), without the body.
func redirected(r *http.Request, u *url.URL) *http.Request {
	n := inPlace(r, u)
	n.RequestURI = u.RequestURI()
	return n
}

// inPlace is the request for the target of X-Accel-Redirect: a GET, or HEAD,
// without the body, whatever the child got. REQUEST_URI stays the client's, as in
// nginx.
func inPlace(r *http.Request, u *url.URL) *http.Request {
	n := r.WithContext(r.Context())
	n.URL = u
	if r.Method != http.MethodHead {
		n.Method = http.MethodGet
	}
	n.Body, n.ContentLength = http.NoBody, 0
	n.Header = r.Header.Clone()
	n.Header.Del("Content-Type")
	return n
}

// plain answers without a child.
func (h *Handler) plain(w *response, r *http.Request, u *url.URL, t Target) error {
	defer t.close()
	switch {
	case t.Location != "" && w.accel != nil:
		return answer(w, http.StatusNotFound) // nobody is told of what may be internal
	case t.Location != "":
		w.Header().Set("Location", location(t.Location, u.RawQuery))
		return answer(w, t.Status)
	case t.Status != 0:
		h.Log.Debug("no answer for this path", "request", r.RequestURI, "status", t.Status, "reason", t.Reason)
		return answer(w, t.Status)
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return answer(w, http.StatusMethodNotAllowed)
	}
	return h.file(w, r, t)
}

// location is the target of a redirect to a folder: the path only, so that no
// Host can lead elsewhere, and never one that begins with two slashes.
func location(p, query string) string {
	u := url.URL{Path: "/" + strings.TrimLeft(p, "/"), RawQuery: query}
	return u.String()
}

// file sends a static file.
func (h *Handler) file(w *response, r *http.Request, t Target) error {
	w.track.sends()
	if t.busy != nil {
		return exchange.SendError(t.busy)
	}
	f := t.opened
	if f == nil {
		var err error
		if f, err = t.open(); err != nil {
			return h.notOpened(w, r, err)
		}
		defer f.Close()
	}
	p := sendfile.Reply{Type: sendfile.TypeFile, Types: t.Site.Types, Reads: h.Reads}
	if w.accel != nil {
		return w.sendNamed(&p, r, f)
	}
	if err := p.Serve(w, r, f); err != nil {
		return exchange.SendError(err)
	}
	return nil
}

// open opens the file of a target by the site's policy of symbolic links.
func (t *Target) open() (*sendfile.File, error) {
	links := sendfile.Follow
	if !t.Site.FollowSymlinks {
		links = sendfile.Deny
	}
	return t.Site.Files.OpenBeneath(t.Root, t.File, links)
}

// notOpened answers for a file that could not be opened.
func (h *Handler) notOpened(w *response, r *http.Request, err error) error {
	var e *sendfile.Error
	switch {
	case errors.Is(err, sendfile.ErrBusy):
		return exchange.SendError(err)
	case !errors.As(err, &e):
		return err
	}
	if e.Status >= 500 {
		h.Log.Error("file could not be opened", "request", r.RequestURI, "err", err)
	}
	return answer(w, e.Status)
}

// exchange passes the request to the application; vars are an authorizer's.
func (h *Handler) exchange(w *response, r *http.Request, t Target, vars map[string]string) (exchange.Answer, error) {
	w.app = t.App.Name
	h.describe(&w.meta, r, t)
	w.meta.HTTPS = w.https
	req := &w.ask
	*req = exchange.Request{
		HTTP:    r,
		Meta:    &w.meta,
		Command: t.command(),
		Params:  t.Route.Params,
		Stream:  t.Route.Stream,
		NPH:     t.App.Scripts && strings.HasPrefix(filepath.Base(t.ScriptFilename), "nph-"),
		Whole:   w.proto10 && !w.canReset(),
	}
	if w.track != nil {
		req.Now = w.track.forApp(t.App)
		req.Observer = w.track
	}
	if w.accel != nil {
		w.accelerate()
		req.Steer = &w.accel.Steer
	}
	if len(vars) > 0 {
		req.Meta.Env = joined(req.Meta.Env, vars)
	}
	if t.App.Filter {
		f, err := t.open()
		if err != nil {
			return exchange.Answer{}, h.notOpened(w, r, err)
		}
		req.Data = f
	}
	var what *completion
	if t.App.OnComplete != "" && !w.own {
		req.Confirm = true
		h.Completions.expect()
		defer func() { h.Completions.add(what) }()
	}
	ans, err := t.App.Serve(w, req)
	what = h.named(w, r, &t, err)
	return ans, err
}

// Meta is what the child of a target is told about the request.
func (h *Handler) Meta(r *http.Request, t Target) *cgi.Meta {
	m := &cgi.Meta{}
	h.describe(m, r, t)
	return m
}

func (h *Handler) describe(m *cgi.Meta, r *http.Request, t Target) {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	*m = cgi.Meta{
		Request:           r,
		ScriptName:        t.ScriptName,
		ScriptFilename:    t.ScriptFilename,
		PathInfo:          t.PathInfo,
		DocumentRoot:      t.DocumentRoot,
		Software:          h.Software,
		Local:             local,
		PassAuthorization: t.App.PassAuthorization,
		Env:               t.Route.Env,
		AppEnv:            t.App.Env,
	}
}

// command is the program of a target, for an app of scripts.
func (t *Target) command() cgi.Command {
	if !t.App.Scripts {
		return cgi.Command{}
	}
	c := cgi.Command{Path: t.ScriptFilename, Args: []string{t.ScriptFilename}, Dir: t.App.Dir,
		Script: t.ScriptFilename, Folder: t.Folder, Place: t.Route.Place}
	if n := t.App.Interpreter; len(n) > 0 {
		c.Path = n[0]
		c.Args = append(n[:len(n):len(n)], t.ScriptFilename)
	}
	if c.Dir == "" {
		c.Dir = filepath.Dir(t.ScriptFilename)
	}
	return c
}
