package front

import (
	"maps"
	"net/http"
	"net/url"

	"sluice/cgi"
	"sluice/internal/exchange"
)

// authorize asks the route's authorizer, if it has one, before anything else:
// so nobody learns without leave what there is. An answer that is neither
// Allowed nor a Redirect has been sent.
//
// A route that is internal is closed to clients without a question; what the
// site's own fallback reaches there is not.
func (h *Handler) authorize(w *response, r *http.Request, u *url.URL, t Target, inside bool) (exchange.Answer, error) {
	if t.Route == nil || t.Route.Authorizer == nil || t.Status != 0 && t.Route.Internal && !inside {
		return exchange.Answer{Allowed: true}, nil
	}
	a, before := t.Route.Authorizer, w.app
	w.app = a.Name
	req := &exchange.Request{HTTP: r, Meta: h.question(w, r, u, t), Whole: w.proto10 && !w.canReset()}
	if w.track != nil {
		w.track.forApp(a)
		req.Observer = w.track
	}
	ans, err := a.Authorize(w, req)
	if err == nil && ans.Allowed {
		w.app = before
	}
	return ans, err
}

// question is what an authorizer is told: what the responder would be, with the
// authorizer's own variables in place of the app's. A request without a script
// has the file that it is for, if any.
func (h *Handler) question(w *response, r *http.Request, u *url.URL, t Target) *cgi.Meta {
	t.App = t.Route.Authorizer
	if t.ScriptFilename == "" {
		t.ScriptName, _ = cleaned(u.Path)
		t.ScriptFilename, t.DocumentRoot = t.Root+t.File, t.Site.Root
	}
	m := h.Meta(r, t)
	m.HTTPS = w.https
	return m
}

// joined are the variables of both; over beats env.
func joined(env, over map[string]string) map[string]string {
	all := maps.Clone(env)
	if all == nil {
		return over
	}
	maps.Copy(all, over)
	return all
}
