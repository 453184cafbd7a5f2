// Package systemd is what a server and the service manager say to each other: the
// listening sockets that it was started with (sd_listen_fds(3)), and how it is
// (sd_notify(3)).
//
// A server that systemd has not started has no sockets, and tells nobody: nothing
// in here fails for that.
package systemd
