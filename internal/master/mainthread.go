package master

import "runtime"

// What is forked has to be forked by a thread that never ends (the death signal
// of a child is about its parent thread), so it is done by the process's first.
func init() { runtime.LockOSThread() }

var mainCalls = make(chan func())

// OnMain runs f on the main thread of the process.
func OnMain(f func()) {
	done := make(chan struct{})
	mainCalls <- func() { f(); close(done) }
	<-done
}

// Main runs the program, on another goroutine, and lends the main thread to
// OnMain until it returns. It is called from main.
func Main(run func() int) int {
	code := make(chan int, 1)
	go func() { code <- run() }()
	for {
		select {
		case f := <-mainCalls:
			f()
		case c := <-code:
			return c
		}
	}
}
