// Package exchange is the one loop of an exchange between a client and a child,
// for CGI and FastCGI alike: it takes in the request's body, gets a child, sends
// the request, reads the header block, and then either passes the body on or
// lets the child go and sends a file.
//
// A child is held only while it computes: the body is complete before a child
// is asked for, the answer is read as fast as the child writes it, and a file
// is sent after the child has been let go.
package exchange
