// Package early takes the signals of a server whose program has been executed in the
// place of another one, before most of that is initialized: Go's runtime lets no
// signal that ends a program wait, whatever was blocked before the exec, and until
// somebody wants it SIGTERM and SIGQUIT end the process. It depends on nothing but the
// packages that it needs for this.
package early

import (
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
)

// EstateVariable names the descriptor of what the earlier program has left, and is
// set where there was one. SignalsVariable has the numbers of the signals that it has
// taken and not acted on.
const (
	EstateVariable  = "SLUICE_ESTATE"
	SignalsVariable = "SLUICE_SIGNALS"
)

// Meaning are the signals that mean something to a server.
var Meaning = []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2}

// Signals has them from the beginning of a program that was executed in the place of
// another one. Elsewhere nothing comes.
var Signals = func() chan os.Signal {
	c := make(chan os.Signal, 16)
	if _, executed := os.LookupEnv(EstateVariable); !executed {
		return c
	}
	signal.Notify(c, Meaning...)
	for n := range strings.SplitSeq(os.Getenv(SignalsVariable), ",") {
		if s, err := strconv.Atoi(n); err == nil && len(c) < cap(c)/2 {
			c <- syscall.Signal(s)
		}
	}
	os.Unsetenv(SignalsVariable)
	return c
}()
