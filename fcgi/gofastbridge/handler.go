package gofastbridge

import (
	"context"
	"net/http"

	"github.com/yookoala/gofast"
)

// Handler answers requests with the application behind t. The chain maps the
// parameters, as it would in front of gofast.BasicSession; the map it gets has
// sluice's variables in it already, and Repair comes after it. The context of
// the request that it sees ends when the handler returns.
func Handler(t *Transport, chain ...gofast.Middleware) http.Handler {
	session := t.Repair(gofast.BasicSession)
	if len(chain) > 0 {
		session = gofast.Chain(chain...)(session)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		c := NewClient(w, t)
		defer c.Close() // for a middleware that panics
		c.Finish(session(c, t.request(r.WithContext(ctx))))
	})
}

// request is the gofast.Request of an HTTP request, before any middleware.
func (t *Transport) request(r *http.Request) *gofast.Request {
	req := gofast.NewRequest(r)
	req.KeepConn = t.KeepConn
	t.meta(r).Each(func(name, value string) { req.Params[name] = value })
	return req
}
