// Package master is the process that owns everything that lasts: the
// configuration, the listening sockets, the logs, every long-lived child and its
// socket, and the control socket. It starts the worker, which is this program
// again with inherited descriptors, and never reads or writes a byte of a
// request.
package master
