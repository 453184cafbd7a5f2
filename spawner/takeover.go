package spawner

import (
	"errors"
	"os"
	"time"
)

// A process that owns children may execute another program in itself: it stays
// their parent, and the successor has to know all that this one knew. So everything
// is held where it is, described, and taken up again by ResumeSupervisor and
// NewReaper:
//
//	Hold of every Supervisor  no child is started and none told to end; what is
//	                          being done is finished
//	Hold of the Reaper        no status is taken
//	Settle                    those that had ended have been judged
//	Describe                  the description, which is for this package alone
//
// Release undoes Hold, where nothing comes of it.

// Layout is the version of what is shared in memory and of what is described: a
// successor of another version cannot take over.
const Layout = layoutVersion<<8 | stateVersion

// stateVersion is that of ChildState and SupervisorState.
const stateVersion = 1

// ChildState describes a running child.
type ChildState struct {
	PID   int
	Whole bool // what is left of its group is to end with it
}

// Describe describes the child.
func (c *Child) Describe() ChildState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return ChildState{c.pid, c.whole}
}

// Adopt is a child that this process has started as another program, for
// NewReaper.
func Adopt(s ChildState) *Child {
	return &Child{pid: s.PID, whole: s.Whole, done: make(chan struct{})}
}

// SlotState describes a slot.
type SlotState struct {
	State    State
	Told     Event
	Child    *ChildState // nil: no process
	PID      int         // of the last one
	Began    time.Time
	Born     time.Duration
	Ready    time.Duration
	Wanted   bool
	Runs     bool
	Why      string // it was ordered to end
	Now      bool
	Lives    int
	Failed   string
	Delay    time.Duration // of the streak, with the next two
	Deaths   int
	Since    time.Duration
	Pause    time.Duration // until the next start
	Socket   int           // descriptor
	Output   int           // likewise; -1: there is none
	LastWord []string
}

// SupervisorState describes a Supervisor.
type SupervisorState struct{ Slots []SlotState }

// settleTime bounds Settle: what is waited for is over in a tenth of it.
const settleTime = 5 * time.Second

var errUnsettled = errors.New("the children do not come to rest")

// Hold keeps all children in the state that they are in until Release.
func (s *Supervisor) Hold() { s.moving.Lock() }

// Release undoes Hold and Settle.
func (s *Supervisor) Release() {
	s.mu.Lock()
	if s.paused != nil {
		close(s.paused)
		s.paused = nil
	}
	s.mu.Unlock()
	s.moving.Unlock()
}

// Settle waits until all that has ended has been judged, and all that was read of
// the output has been logged; no more is read. Both Hold are in effect.
func (s *Supervisor) Settle() error {
	s.mu.Lock()
	s.paused = make(chan struct{})
	for _, k := range s.slots {
		if k.output != nil {
			k.output.SetReadDeadline(time.Unix(1, 0))
		}
	}
	s.mu.Unlock()
	for limit := time.Now().Add(settleTime); !s.settled(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			return errUnsettled
		}
	}
	return nil
}

func (s *Supervisor) settled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.slots {
		if k.ending || k.child != nil && k.child.ended() || k.output != nil && !k.reads {
			return false
		}
	}
	return true
}

func (c *Child) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// readPaused is for the reader of an output whose deadline has come: true when it
// was that of Settle, and reading goes on.
func (k *keeper) readPaused(c *Child, r *os.File) bool {
	k.s.mu.Lock()
	paused := k.s.paused
	k.reads = paused != nil
	k.s.mu.Unlock()
	if paused == nil {
		return false
	}
	<-paused
	k.s.mu.Lock()
	k.reads = false
	r.SetReadDeadline(time.Time{})
	if c.ended() {
		r.SetReadDeadline(time.Now().Add(outputLinger))
	}
	k.s.mu.Unlock()
	return true
}

// Describe describes the supervisor, which has been settled. keep makes a descriptor
// one that the successor has, and returns its number.
func (s *Supervisor) Describe(keep func(*os.File) int) (st SupervisorState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.slots {
		d := SlotState{State: k.state, Told: k.told, PID: k.pid, Began: k.began, Born: k.born, Ready: k.ready, Wanted: k.wanted, Runs: k.runs,
			Why: string(k.leave.why), Now: k.leave.now, Lives: k.lives, Delay: k.streak.delay, Deaths: k.streak.deaths, Since: k.streak.since,
			Socket: keep(k.socket.File), Output: -1, LastWord: k.tail.all()}
		if k.failed != nil {
			d.Failed = k.failed.Error()
		}
		if k.child != nil {
			c := k.child.Describe()
			d.Child = &c
		} else if k.until != 0 {
			d.Pause = max(time.Nanosecond, k.until-Now())
		}
		if k.output != nil {
			d.Output = keep(k.output)
		}
		st.Slots = append(st.Slots, d)
	}
	return st
}

// Inheritance is how a successor gets at what Describe has named.
type Inheritance struct {
	File  func(fd int, name string) *os.File
	Child func(ChildState) *Child
}

// ResumeSupervisor takes over the children of a SupervisorState, for Resume. The
// options are as those of the supervisor that it describes. The Ledger is the one that
// it had, opened at place 0.
func ResumeSupervisor(o SupervisorOptions, st SupervisorState, in Inheritance) *Supervisor {
	o.normalize()
	s := newSupervisor(o)
	for i, d := range st.Slots {
		k := &keeper{s: s, slot: i, poke: make(chan struct{}, 1), state: d.State, told: d.Told, pid: d.PID, began: d.Began, born: d.Born,
			ready: d.Ready, wanted: d.Wanted, runs: d.Runs, leave: leave{reason(d.Why), d.Now}, lives: d.Lives,
			streak: streak{d.Delay, d.Deaths, d.Since}, pause: d.Pause}
		if d.Failed != "" {
			k.failed = errors.New(d.Failed)
		}
		for _, line := range d.LastWord {
			k.tail.add([]byte(line))
		}
		path := SocketPath(o.SocketDir, o.Sockets, i)
		bound, _ := os.Lstat(path) // whose name somebody has taken away keeps the socket
		k.socket = &privateSocket{in.File(d.Socket, path), bound}
		if d.Child != nil {
			k.child = in.Child(*d.Child)
		}
		if d.Output >= 0 {
			k.output = in.File(d.Output, "output")
		}
		s.slots = append(s.slots, k)
		if o.Ledger != nil {
			o.Ledger.Set(i, d.Told.State, d.Told.PID)
		}
	}
	return s
}

// Resume goes on.
func (s *Supervisor) Resume() {
	if s.opt().Ledger != nil {
		s.opt().Ledger.Watch(s.look)
	}
	for _, k := range s.slots {
		if k.runs {
			s.wg.Go(func() { k.resume() })
		}
	}
	s.wg.Go(s.mind)
	s.look()
}

// resume is run for a slot that has had a life before.
func (k *keeper) resume() {
	k.s.mu.Lock()
	c, output, pause := k.child, k.output, k.pause
	k.s.mu.Unlock()
	var o *obituary
	switch {
	case c != nil:
		read := make(chan struct{})
		if output == nil {
			close(read)
		} else {
			go func() { defer close(read); k.readOutput(c, output) }()
		}
		died := k.live(c, read, func() {})
		o = &died
	case pause > 0:
		k.backOff(pause)
	}
	k.goOn(o, nil)
}
