package tune

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// progress says how far a run is: on a terminal in a line that changes, elsewhere
// in a line for each round.
type progress struct {
	w           io.Writer
	terminal    bool
	now         string // round
	done, total int    // visits
	began       time.Time
	guess       time.Duration // of a visit
}

func newProgress(w io.Writer, visits int, guess time.Duration) *progress {
	p := &progress{w: w, total: visits, began: time.Now(), guess: guess}
	if f, ok := w.(*os.File); ok {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		p.terminal = err == nil
	}
	return p
}

// clear is what empties the line of a terminal.
const clear = "\r\x1b[K"

func (p *progress) round(n, of int) {
	p.now = fmt.Sprintf("round %d of %d", n, of)
	if !p.terminal {
		fmt.Fprintf(p.w, "%s, about %s left\n", p.now, p.left())
	}
}

// step says what is visited next.
func (p *progress) step(what string) {
	if p.terminal {
		fmt.Fprintf(p.w, "%s%s, about %s left: %s", clear, p.now, p.left(), what)
	}
	p.done++
}

// drop says that so many visits are not made after all, nor was the last one.
func (p *progress) drop(visits int) {
	p.total -= visits + 1
	p.done--
}

func (p *progress) end() {
	if p.terminal {
		io.WriteString(p.w, clear)
	}
}

// left is the time that the visits to come will take if they are like those so
// far.
func (p *progress) left() time.Duration {
	each := p.guess
	if p.done > 0 {
		each = time.Since(p.began) / time.Duration(p.done)
	}
	return (each * time.Duration(p.total-p.done)).Round(time.Second)
}
