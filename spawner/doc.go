// Package spawner starts, supervises and lends out child processes.
//
// It has two halves, which may live in two processes. The Supervisor owns the
// children: it binds a private socket for each, starts the program on it,
// restarts it when it dies and stops it in order; it adds children when requests
// want them, and retires those that are idle, old, or too big. The Pool lends them out: one
// request per child and connection at a time, first come, first served, within
// a bounded queue. What both know of a child stands in a Ledger: memory of one
// process, or memory that several share, so that any worker may use any child
// that is free. Between the halves travel Events (what became of a child) and
// Reports (what a request saw of it); how they travel is the caller's affair.
//
// A Starter runs CGI scripts, one per request; Reaper waits for everything.
//
// # What people get wrong
//
// The socket belongs to the supervisor, for ever: a child that dies leaves a
// socket on which connections queue, and its successor serves them. Closing a
// connection does not free a child: it may compute on, so such a child counts
// as finishing until it has answered again. A worker that is killed gives nothing
// back: every claim names its holder in the one word that makes it, so that the
// owner can take it back. PR_SET_PDEATHSIG fires when the
// thread that forked ends, not the process, so a Forker needs a thread that
// never ends; and Go has nothing between fork and exec, so what has to happen
// there happens in the shim, which is this very program in another mode. A script
// has no time for that: it is forked by one of a few threads that never end and
// that carry its umask and no_new_privs, or, where the process has promised that
// none of its threads ends (Scripts.Own), by any; its limits follow a moment later.
package spawner
