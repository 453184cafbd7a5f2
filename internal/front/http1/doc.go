// Package http1 is the connections of a web server: HTTP/1.1 (RFC 9112) over the
// sockets of one poll.Set, with an http.Handler above them.
//
// What net/http does not let choose is here: a connection that idles has neither
// a goroutine nor a buffer, how it ends (Linger), what it counts as on the
// scoreboard, and that a client's departure cancels its request without a
// goroutine that reads. What net/http promises to handlers holds: see
// ResponseWriter's, Flusher's and ResponseController's documentation. Differences:
// trailers are neither read nor sent, and http.ServerContextKey is not set.
//
// The way of a connection:
//
//	Take ─ parked ⇄ reading ─ working ─ reading …
//	                             └ closed, lingering or hijacked
package http1
