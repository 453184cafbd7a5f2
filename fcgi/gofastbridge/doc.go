// Package gofastbridge is gofast's extension API over sluice's FastCGI engine,
// and sluice's connections under gofast's own client.
//
// github.com/yookoala/gofast has a request model that middlewares can change,
// and a wire layer with defects that a server cannot live with. There are three
// ways to have the one without the other.
//
// # A session of your own on our engine
//
// Client is a gofast.Client. It belongs to one request, since only gofast itself
// can write into a gofast.ResponsePipe: the answer goes to the
// http.ResponseWriter at once, and the pipe that Do returns has ended. Finish
// completes the answer.
//
//	c := gofastbridge.NewClient(w, transport)
//	defer c.Close()
//	c.Finish(session(c, gofast.NewRequest(r)))
//
// # A chain that maps parameters for our engine
//
// Handler is an http.Handler that runs a chain of gofast.Middleware before our
// engine. Params is the mapping alone, for a server with an engine of its own.
//
//	http.Handle("/", gofastbridge.Handler(transport, gofast.NewPHPFS(root), mine))
//
// # gofast's client on our connections
//
// ConnFactory and ClientFactory keep gofast's client, and give it connections
// that see how a request ended, have deadlines, abort, and go back to their
// pool. Sessions is an http.Handler made of them.
//
//	http.Handle("/", gofastbridge.Sessions(transport, session))
//
// # Transport
//
// A Transport says how to reach the application. Its Dial is a function, behind
// which any pool can stand; PoolDial, in the example for Dial, puts a
// spawner.Pool there:
//
//	t := &gofastbridge.Transport{Dial: PoolDial(pool), KeepConn: true}
//
// # What is put right, and what cannot be
//
// docs/gofast.md has the table of gofast's defects, each with what becomes of it
// on each way, and the benchmark. In short: with Client and Handler none is
// left. With Sessions an answer that breaks off is a broken connection, and what
// gofast's parser cannot read (a header line of more than 1,023 bytes, an
// interim answer) is a 502. With ConnFactory under gofast.NewHandler gofast
// still calls an answer complete whose application died: Conn.Err says that it
// is not.
//
// # What people get wrong
//
// A middleware that wants to see the answer finds nothing in the pipe of a
// Client: wrap the http.ResponseWriter instead. Calling WriteTo on that pipe
// returns at once, having written status 500 to its argument, which is no
// matter as long as that is not the ResponseWriter itself. A Client is not for
// gofast.NewHandler, whose factory does not know the ResponseWriter.
//
// Params are sent as the chain leaves them, but for what Repair replaces: the
// values that gofast's own middlewares would have set. A middleware that sets
// HTTPS has to set REQUEST_SCHEME and SERVER_PORT too. Transport.Env has the
// last word.
//
// Local redirects (RFC 3875 section 6.2.2) go to the client, as with gofast:
// neither knows what else the server has.
package gofastbridge
