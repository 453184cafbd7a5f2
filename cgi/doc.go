// Package cgi speaks CGI/1.1 (RFC 3875) from the web server's side.
//
// It has three parts, each useful without the others:
//
//   - Meta turns an *http.Request into meta-variables (RFC 3875 section 4.1).
//     FastCGI uses the same ones, so package fcgi takes a Meta too.
//   - ReadHeader reads the header block that a child writes (section 6), for
//     CGI scripts and FastCGI applications alike, and says why a block is bad.
//   - Run starts one script and holds the conversation with it: its input, its
//     output and its errors move at the same time, and it can be stopped.
//
// Conversation is what an exchange with a child looks like whatever the
// protocol; Starter is who starts a script, so that a test, or a process with
// other rights, can take the place of fork and exec.
//
// Nothing here goes through a shell, and a query string never becomes
// arguments of the program (RFC 3875 section 4.4 is not offered).
package cgi
