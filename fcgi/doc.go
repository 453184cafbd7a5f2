// Package fcgi speaks FastCGI 1.0 from the web server's side.
//
// A connection carries one request at a time (no common application takes
// more). Begin writes the request, its parameters and the start of its input
// in one write; the Exchange it returns reads the application's standard
// output as a stream, hands its standard error on, and knows how the request
// ended. An exchange implements cgi.Conversation.
//
//	ex, err := fcgi.Begin(conn, &fcgi.Request{Role: fcgi.Responder, Params: params})
//	header, rest, _, err := cgi.ReadHeader(ex, nil, 64<<10)
//
// # What people get wrong
//
// Only END_REQUEST proves that an answer is complete: an application that dies
// closes its connection as well. A connection may be used again only after
// END_REQUEST, with nothing left over on it and the input written to its end.
// A closed connection is not a free application: php-cgi computes on.
package fcgi
