package front

import (
	"net/http"
	"net/url"
	"time"

	"sluice/internal/front/peer"
	"sluice/internal/securelink"
)

// guarded reports whether not everybody may have what the route has, so that
// nothing is opened before it is known who asks.
func (r *Route) guarded() bool { return r.Authorizer != nil || r.Link != nil }

// unsigned answers a request for a route of signed links whose signature is not
// right, before anything else is looked at or asked: so nobody learns without a
// link what there is. It reports whether it has.
//
// A signature is needed inside as well: the target of a local redirect has its
// own. A route that is internal is closed to clients whatever they have.
func (h *Handler) unsigned(w *response, r *http.Request, u *url.URL, t Target, inside bool) (done bool, err error) {
	if t.Route == nil || t.Route.Link == nil || t.Status != 0 && t.Route.Internal && !inside {
		return false, nil
	}
	v := t.Route.Link.Check(t.Path, u.RawQuery, peer.AddrOf(r.RemoteAddr), time.Now())
	switch {
	case v != securelink.Good:
		h.Log.Debug("the link is not signed as it has to be", "request", r.RequestURI, "client", r.RemoteAddr, "status", v.Status(), "signature", v)
		return true, answer(w, v.Status())
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		return true, answer(w, http.StatusMethodNotAllowed)
	}
	return false, nil
}
