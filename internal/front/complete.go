package front

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"sluice/internal/exchange"
	"sluice/sendfile"
)

// named notes what became of a file that an application named: for the access
// log, and for the application.
func (h *Handler) named(w *response, r *http.Request, t *Target, err error) *completion {
	s := &w.ask.Sent
	if s.Order.Header == "" || w.own {
		return nil
	}
	if s.Opened {
		w.file = outcome(s.Complete)
	}
	if t.App.OnComplete == "" {
		return nil
	}
	status := s.Status
	if e := (*exchange.Error)(nil); status == 0 && errors.As(err, &e) {
		status = e.Kind.Status()
	}
	form := url.Values{
		"id":          {rand.Text()},
		"path":        pathsOf(&s.Order),
		"bytes":       {strconv.FormatInt(s.Bytes, 10)},
		"status":      {outcome(s.Complete)},
		"http_status": {strconv.Itoa(status)},
		"method":      {r.Method},
		"uri":         {r.RequestURI},
		"client":      {clientOf(r)},
	}
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return &completion{app: t.App, host: r.Host, client: r.RemoteAddr, local: local, https: w.https, form: form.Encode()}
}

func outcome(complete bool) string {
	if complete {
		return "complete"
	}
	return "aborted"
}

// pathsOf are the files of an order, each once.
func pathsOf(o *sendfile.Order) (paths []string) {
	if o.Means != sendfile.Slices {
		return []string{o.Path}
	}
	seen := map[string]bool{}
	for _, s := range o.Slices {
		if !seen[s.Path] {
			seen[s.Path] = true
			paths = append(paths, s.Path)
		}
	}
	return paths
}

// complete posts a completion to the route of its app, which need not be open to
// clients. No authorizer is asked: nobody's credentials are there.
func (h *Handler) complete(ctx context.Context, c *completion) error {
	u := &url.URL{Path: c.app.OnComplete}
	site := h.Sites.Find(c.host)
	if site == nil {
		return fmt.Errorf("no site for %q", c.host)
	}
	t := site.Resolve(u, true)
	if t.App != c.app {
		return fmt.Errorf("%s leads to no route of the app", c.app.OnComplete)
	}
	r := h.completionRequest(ctx, c, u)
	w := respond(&nowhere{header: http.Header{}}, r)
	defer w.free()
	w.own, w.https = true, c.https
	if h.Tracking != nil {
		w.track = h.Tracking.begin(r, nil)
		defer w.track.end(w)
	}
	ans, err := h.exchange(w, r, t, nil)
	switch {
	case err != nil:
		return err
	case ans.Redirect != "":
		return fmt.Errorf("local redirect to %s", ans.Redirect)
	case ans.Accel != nil:
		return fmt.Errorf("X-Accel-Redirect to %s", ans.Accel.URL)
	case w.status < 200 || w.status > 299:
		return fmt.Errorf("status %d", w.status)
	}
	return nil
}

// completionRequest is the request that the child sees: of the client that had
// the file, but for what only that client's request can say.
func (h *Handler) completionRequest(ctx context.Context, c *completion, u *url.URL) *http.Request {
	r := &http.Request{Method: http.MethodPost, URL: u, RequestURI: u.RequestURI(), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Host: c.host, RemoteAddr: c.client, Body: io.NopCloser(strings.NewReader(c.form)), ContentLength: int64(len(c.form)),
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "User-Agent": {h.Software}}}
	if c.local != nil {
		ctx = context.WithValue(ctx, http.LocalAddrContextKey, c.local)
	}
	return r.WithContext(ctx)
}

// nowhere takes an answer that nobody reads.
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) WriteHeader(int)             {}
func (n *nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n *nowhere) FlushError() error           { return nil }
