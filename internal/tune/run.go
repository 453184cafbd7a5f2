package tune

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"time"

	"sluice/internal/machine"
)

// Options of a run.
type Options struct {
	// Executable is a sluice, whose commands serve and LoadCommand are used.
	Executable string
	Version    string
	// Duration is how long each load is put on each setting, in all rounds together.
	Duration time.Duration
	// Workers is how many workers there are at most; 0: one for each CPU that this
	// process may use (a container may have less than the machine), but no more
	// than MaxWorkers.
	Workers int
	// OnMain runs a function on a thread that never ends: what is started there
	// ends with this process.
	OnMain func(func())
	// Progress is told how far the run is; on a terminal by a line that changes.
	Progress io.Writer
}

// Bounds of Options.
const (
	MinDuration = 10 * time.Millisecond
	MaxDuration = 10 * time.Minute
	MaxWorkers  = 8
)

// Rounds are how many rounds a duration is divided into: so many that a visit
// still lasts a while, since it is between them that noise shows.
func Rounds(d time.Duration) int {
	const visit = 400 * time.Millisecond
	return min(max(int(d/visit), 3), 9)
}

// run is one run.
type run struct {
	Options
	dir      string // temporary
	env      []string
	rounds   int
	progress *progress
}

// Run tries every setting. It ends early, with the context's cause, when the
// context does. Nothing is left when it returns: no process, no file.
func Run(ctx context.Context, o Options) (rep *Report, err error) {
	if o.Workers == 0 {
		o.Workers = min(runtime.GOMAXPROCS(0), MaxWorkers)
	}
	r := &run{Options: o, rounds: Rounds(o.Duration), env: environment()}
	if r.dir, err = os.MkdirTemp("", "sluice-tune-"); err != nil {
		return nil, err
	}
	defer os.RemoveAll(r.dir)
	rep = &Report{Began: time.Now(), Facts: r.facts()}
	visits := 0
	for _, st := range studies {
		res := &Study{Title: st.title, Loads: st.loads}
		for _, s := range st.settings(o.Workers) {
			res.Outcomes = append(res.Outcomes, &Outcome{Setting: s})
		}
		rep.Studies = append(rep.Studies, res)
		visits += len(res.Outcomes)
	}
	r.progress = newProgress(o.Progress, visits*r.rounds, r.perVisit())
	defer r.progress.end()
	for round := range r.rounds {
		r.progress.round(round+1, r.rounds)
		for _, res := range rep.Studies {
			if err := r.tryAll(ctx, res, round); err != nil {
				return nil, err
			}
		}
	}
	for _, res := range rep.Studies {
		res.advise()
	}
	return rep, nil
}

// perVisit is about how long a visit takes, before there has been one.
func (r *run) perVisit() time.Duration {
	const start = 200 * time.Millisecond
	return start + 2*r.Duration/time.Duration(r.rounds)
}

// tryAll visits every setting of a study once, in each round in another order, so
// that none always comes after the same one. One that does not work is not visited
// again.
func (r *run) tryAll(ctx context.Context, res *Study, round int) error {
	for _, i := range rand.New(rand.NewPCG(uint64(round), 0)).Perm(len(res.Outcomes)) {
		o := res.Outcomes[i]
		if o.Failed != "" {
			continue
		}
		r.progress.step(res.Title + ": " + o.Setting.String())
		list, err := r.visit(ctx, o.Setting, res.Loads, r.Duration/time.Duration(r.rounds))
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			o.Failed = err.Error()
			r.progress.drop(r.rounds - 1 - round)
			continue
		}
		o.Rounds = append(o.Rounds, list)
	}
	return nil
}

// environment is this process's, without what would change a setting.
func environment() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "SLUICE_") {
			env = append(env, v)
		}
	}
	return env
}

// facts are what the run was like.
func (r *run) facts() []Fact {
	visit := (r.Duration / time.Duration(r.rounds)).Round(time.Millisecond)
	return []Fact{
		{"sluice", r.Version},
		{"kernel", machine.Kernel()},
		{"CPUs", fmt.Sprintf("%d, %s", runtime.NumCPU(), machine.CPU())},
		{"Go", runtime.Version()},
		{"time", fmt.Sprintf("%v for each setting and load: %d rounds of %v, in changing order", r.Duration, r.rounds, visit)},
		{"workers", fmt.Sprintf("1 to %d", r.Workers)},
		{"clients", fmt.Sprintf("%d at once; %d that upload %d MiB", loadKinds[Connect].clients, loadKinds[Early].clients, upload>>20)},
		{"answer", fmt.Sprintf("a file of %d bytes, over 127.0.0.1", answerSize)},
	}
}
