// Package front is the web front: it accepts connections, speaks HTTP/1.1, finds
// out which site, route and script a request is for, and answers it with a file
// or through an exchange with a child.
//
// The connections are net/http's as yet; the sites are an http.Handler above
// them, so that either can change without the other.
package front
