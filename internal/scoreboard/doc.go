// Package scoreboard is a block of shared memory that says what every worker,
// connection and child of a server does right now. The master formats it, each
// worker writes to its own part without a lock, and anybody who has the memory,
// or the file that it is, may read it at any time: also when all who wrote to it
// have been killed.
//
// Who reads it takes nothing for granted: how the memory is divided is checked
// once, when it is opened, and kept elsewhere; what stands in it later is only
// ever shown, never used as an index, a length or a process to signal. What the
// master itself wrote it also has in private, and its Snapshot says that.
//
// The layout, version 1, all in 64-bit words, which are read and written whole;
// a text is its bytes, the first in the lowest byte of a word, up to a zero or
// the end of its room:
//
//	head, 16 words
//	    0 magic "sluicesb", 1 version of the layout, 2 words in all
//	    3 places, 4 apps, 5 whether there are times
//	    6 master's pid, 7 generation
//	    8 started, 9 last seen by the master, 10 ended (0: it has not, or was killed)
//	    11 to 15 the server's version
//	for each app, 16 words
//	    0 slots, 1 records of each place, 2 waiting, 3 served, 4 refused
//	    5 to 7 kind, 8 to 15 name
//	for each place, 16 words
//	    0 pid, 1 generation, 2 state, 3 requests
//	    4 to 9 connections that are reading, waiting, working, sending, idle, lingering
//	    10 goroutines
//	    11 accepted connections, 12 wake-ups of the acceptor, 13 those without a connection, 14 ns waited for the accept lock
//	for each slot of each app, 24 words
//	    0 state, and 256 when it is finishing, 1 pid, 2 began, 3 requests, 4 memory in bytes, 5 restarts
//	    8 to 23 address of a program elsewhere
//	for each record of each app of each place, 32 words
//	    0 sequence, odd while words 2 to 31 are written
//	    1 phase in the highest byte, 0: the record is free; below, since when in µs
//	    2 slot, 3 pid, 4 began, 5 since when the child has it
//	    6 to 7 method, 8 to 15 client, 16 to 31 URL
//
// Times are of Unix, in ns where nothing else is said.
package scoreboard
