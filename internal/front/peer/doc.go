// Package peer says who is at the other end of a connection, and how many
// connections they have.
//
// A connection that comes from a proxy is somebody else's. Two ways to say whose
// are understood, and each is believed only from addresses that the operator has
// named: the PROXY protocol, a few bytes before the first request (Read), and
// X-Forwarded-For with X-Forwarded-Proto in each request (Forwarded). Seats
// counts the connections of one address over all processes that share a piece of
// memory.
//
// What people get wrong: the leftmost address of X-Forwarded-For is what the
// client itself wrote there. Only what a trusted proxy has appended is worth
// anything, so the list is read from its right end.
package peer
