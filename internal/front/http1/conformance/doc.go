// Package conformance holds what clients and handlers may rely on, as tests that
// run over two servers: net/http's, which is the oracle, and ours.
//
// Clients are raw sockets: the tests say which bytes go in, and read what comes
// out by a reader of their own that is stricter than most clients. Where the two
// servers are meant to differ, the table of differences says so and why, and the
// test asks it. Which of net/http's own tests each one stands for is in the
// table of origins.
package conformance
