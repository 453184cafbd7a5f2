// Package poll is a process's own set of connections: goroutines wait in it for
// what their connections can do, and a connection that idles needs none.
//
// Go's netpoller cannot give a connection's goroutine away, reads before it
// waits, which costs a system call that says "nothing yet" for nearly every
// request, and sets a runtime timer for every deadline. Here every connection is
// in one epoll set, edge-triggered, from its beginning to its end, so that
//
//   - a Read whose predecessor has drained the socket waits without asking;
//   - the peer's departure is known without a reader (OnHangup);
//   - an idle connection is a small struct (Park), and what wakes it is the event
//     that it waits for;
//   - a deadline is an atomic store and, at most once in a while, an entry in a
//     timer wheel.
//
// The set itself is watched by Go's netpoller, so no thread is blocked by it, and
// all events that are due are handed out in one go.
package poll
