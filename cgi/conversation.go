package cgi

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// Conversation is one exchange with one child. Reads and Close belong to one
// goroutine; Interrupt may be called from any.
type Conversation interface {
	// Read reads what the child writes to its standard output: header block
	// and body. io.EOF is the clean end that the protocol knows: END_REQUEST
	// in FastCGI, the end of the output in CGI (where Ended may still tell of
	// a death). ErrDied, or an error around it, is an end without one. A
	// deadline that passed is os.ErrDeadlineExceeded, and reading may go on.
	io.Reader
	// SetReadDeadline bounds the Reads to come; the zero time lifts it.
	SetReadDeadline(time.Time) error
	// Interrupt makes a Read that waits, and each later one until the next
	// SetReadDeadline, fail with os.ErrDeadlineExceeded.
	Interrupt()
	// Ended says how the child ended, and waits at most d for that to be
	// known. False: not known, or the child lives on.
	Ended(d time.Duration) (Ending, bool)
	// Close ends the exchange in the manner asked for. It returns at once;
	// what takes time (a grace, the reaping) goes on behind it. Only the first
	// call counts.
	Close(Closing)
}

// Closing is the manner in which an exchange is ended.
type Closing int

const (
	// Complete: the child said all it had to say, or all that counts.
	Complete Closing = iota
	// Stop: nothing more is wanted and the child should end its work.
	Stop
	// Abort: as Stop, and the child is told that nobody waits any longer.
	Abort
)

func (c Closing) String() string {
	return [...]string{"complete", "stop", "abort"}[c]
}

// ErrDied is the cause of an exchange that ended without the protocol's end.
var ErrDied = errors.New("child died before the end of its answer")

// Ending is how a child, or its request, ended.
type Ending struct {
	Status int            // exit status, or FastCGI's appStatus
	Signal syscall.Signal // the signal that killed it; 0 for none
}

// OK reports whether the child ended by itself with status 0.
func (e Ending) OK() bool { return e.Status == 0 && e.Signal == 0 }

func (e Ending) String() string {
	if e.Signal != 0 {
		return fmt.Sprintf("killed by signal %d (%s)", int(e.Signal), e.Signal)
	}
	return fmt.Sprintf("exit status %d", e.Status)
}

// Command is one program to start.
type Command struct {
	Path string   // the program; no look-up in PATH is made
	Args []string // argv, with the name of the program first
	Env  []string // the whole environment, NAME=value
	Dir  string   // working directory
	// Script is the script that the program runs, or the program itself; Folder,
	// with its slash, is where it was looked for ("": it is the operator's word),
	// and Place the number of that: for a Starter with a table of its own.
	Script, Folder string
	Place          int
}

// Starter starts a program in a process group of its own with the three files
// as its standard input, output and error, and with no other descriptor.
type Starter interface {
	Start(c Command, stdin, stdout, stderr *os.File) (Process, error)
}

// Process is a program that a Starter started. It may have a method Ended() bool,
// which looks whether it has ended and does not wait; Run would otherwise ask
// Done.
type Process interface {
	// PID is the process id; it is also the id of the process group.
	PID() int
	// Signal sends to the whole process group, as long as its leader has not
	// been reaped.
	Signal(syscall.Signal) error
	// Done is closed when the process has been reaped. Somebody who started it
	// has to ask for Done, since it may be that only this has it reaped.
	Done() <-chan struct{}
	// Ending says how it ended; it may be asked after Done.
	Ending() Ending
}
