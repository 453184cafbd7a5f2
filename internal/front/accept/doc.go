// Package accept accepts connections on any number of listeners, together with
// other processes that have the same listeners, in any of the modes of lockmodes.
//
// Where nothing has to be agreed on, with None and with Reuseport, the listeners
// are watched in the worker's own set, and there is no thread. Otherwise there is
// one, which waits in an epoll set of its own: with a lock it takes the lock,
// waits, accepts, and gives the lock back; with Exclusive the kernel wakes one of
// those who wait. What is accepted is handed on after the lock has been given
// back, so that nothing else is done while others wait for it.
//
// A worker that has no room for more does not compete: it takes no lock, and is
// not woken.
package accept
