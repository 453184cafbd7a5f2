package spawner

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"syscall"
	"time"

	"sluice/cgi"
)

// Back-off of a child that dies before it has answered anything.
const (
	backoffFirst  = 100 * time.Millisecond
	backoffMost   = 30 * time.Second
	backoffJitter = 0.2
	// answerGrace is how long the word that a child has answered may come
	// behind its end: a program that ends after each request does both at once.
	answerGrace = 50 * time.Millisecond
	answerPoll  = time.Millisecond
	// readyProof is how long a child has to be ready to have proved that it
	// starts: the death of one that idled is no reason for a pause.
	readyProof = time.Second
	// freeDeaths is how many children in a row may end in order, or be killed
	// from outside, without an answer: it is nobody's fault.
	freeDeaths = 3
)

// outside are the signals that come from an administrator, or from the system.
var outside = map[syscall.Signal]bool{syscall.SIGTERM: true, syscall.SIGKILL: true, syscall.SIGINT: true,
	syscall.SIGQUIT: true, syscall.SIGHUP: true}

// obituary is how a process ended.
type obituary struct {
	err    error // it could not be started; nothing else is known then
	pid    int
	why    reason // it was told to end; "": it did so by itself
	died   time.Time
	ending cgi.Ending
	words  string // its last lines
}

// streak is what came before in a slot; the zero value is: all is well.
type streak struct {
	delay  time.Duration // the last pause, before its jitter
	deaths int           // blameless ones without an answer
	since  time.Duration // when the first of those processes began, by Now
}

// judge decides when the successor of a process starts, if there is to be one,
// and says in one line of the log how the process ended and what comes next.
func (k *keeper) judge(o obituary) (pause time.Duration) {
	answered := false
	switch {
	case o.err != nil:
		pause = k.streak.pause(o)
	case o.why != "":
		k.streak = streak{}
	default:
		answered, pause = k.judgeDeath(o)
	}
	k.s.mu.Lock()
	switch {
	case o.err != nil:
		k.coming, k.failed = false, o.err
	case o.why == "":
		k.failed = fmt.Errorf("child ended: %v", o.ending)
	}
	k.wanted = pause == 0 && k.succeeds(o)
	k.ending, k.until = false, 0
	if pause > 0 {
		k.until = Now() + pause
	}
	next := k.next(pause)
	k.s.mu.Unlock()
	k.log(o, answered, next)
	return pause
}

// judgeDeath is for a process that was not told to end.
func (k *keeper) judgeDeath(o obituary) (answered bool, pause time.Duration) {
	k.s.mu.Lock()
	ready := k.ready
	k.s.mu.Unlock()
	settled := ready != 0 && Now()-ready >= readyProof
	blameless := ready != 0 && (o.ending.OK() || outside[o.ending.Signal])
	if k.heardSince(k.streak.since) {
		k.streak.deaths = 0
	}
	if k.s.opt().Listen != nil && ready != 0 && o.ending.OK() {
		return false, 0 // nobody tells about its answers, and it ended in order
	}
	free := blameless && k.streak.deaths < freeDeaths
	// One that ends by itself has answered, if it had a request: the word is on
	// its way. One that was killed had none, or can answer no more.
	answered = k.heardSince(k.born)
	if !answered && !settled && !(free && (o.ending.Signal != 0 || k.use().Claims == 0 && k.s.opt().Ledger != nil)) {
		answered = k.late()
	}
	switch {
	case answered || settled:
		k.streak = streak{}
	case free:
		if k.streak.deaths == 0 {
			k.streak.since = k.born
		}
		k.streak.deaths++
	default:
		return false, k.streak.pause(o)
	}
	return answered, 0
}

// pause is the next pause: twice the last one, from the end of the process. The
// jitter keeps the children of an app, which die of the same cause, from
// starting all at once.
func (s *streak) pause(o obituary) time.Duration {
	s.delay = min(max(2*s.delay, backoffFirst), backoffMost)
	d := time.Duration(float64(s.delay) * (1 + backoffJitter*(2*rand.Float64()-1)))
	return max(time.Nanosecond, d-time.Since(o.died))
}

// heardSince reports whether a complete answer has come since a time, by Now.
func (k *keeper) heardSince(t time.Duration) bool {
	h := k.use().Heard
	return h != 0 && h > t
}

// late waits for the word that a child which has ended had answered.
func (k *keeper) late() bool {
	limit := time.NewTimer(answerGrace)
	defer limit.Stop()
	poll := time.NewTicker(answerPoll)
	defer poll.Stop()
	for !k.heardSince(k.born) {
		select {
		case <-poll.C:
		case <-k.s.stop:
			return false
		case <-limit.C:
			return k.heardSince(k.born)
		}
	}
	return true
}

// backOff waits for the next start. When the child that died turns out to have
// answered, or somebody asks for it, its successor starts at once.
func (k *keeper) backOff(d time.Duration) {
	k.set(BackingOff, nil)
	defer func() {
		k.s.mu.Lock()
		k.until = 0
		k.s.mu.Unlock()
	}()
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			k.s.mu.Lock()
			k.wanted = k.s.lacks(k)
			k.s.mu.Unlock()
			return
		case <-k.s.stop:
			return
		case <-k.poke:
		}
		answered := k.heardSince(k.born)
		k.s.mu.Lock()
		if answered {
			k.streak = streak{}
			k.wanted = true
		}
		wanted := k.wanted
		k.s.mu.Unlock()
		if wanted {
			return
		}
	}
}

// next says what comes after an end. The table is locked.
func (k *keeper) next(pause time.Duration) string {
	switch {
	case k.s.stopping():
		return "none"
	case pause > 0:
		return "in " + pause.Round(time.Millisecond).String()
	case k.wanted:
		return "at once"
	}
	return "when a request wants it"
}

func (k *keeper) log(o obituary, answered bool, next string) {
	log := k.s.opt().Log.With("app", k.s.opt().App)
	switch {
	case o.err != nil:
		log.Error("a child could not be started", "err", o.err, "next", next)
	case o.why == shutDown:
		log.Debug("child has been stopped", "pid", o.pid, "ending", o.ending)
	case o.why != "":
		log.Info("child has been retired", "pid", o.pid, "reason", o.why, "ending", o.ending, "next", next)
	default:
		level := slog.LevelWarn
		if o.ending.OK() && answered {
			level = slog.LevelInfo // a program that ends after so many requests, as PHP does
		}
		log.Log(context.Background(), level, "child ended", "pid", o.pid, "ending", o.ending, "answered", answered,
			"last_words", o.words, "next", next)
	}
}
