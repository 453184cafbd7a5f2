package tune

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"sluice/internal/scoreboard"
)

// LoadCommand is the command of the executable that calls Generate.
const LoadCommand = "tune-load"

// Sample is what one load has shown of one setting in one round.
type Sample struct {
	Result
	CPU       time.Duration // the server's
	Served    uint64        // requests, as the server counts them
	Accepts   uint64        // connections, as the server counts them
	Empty     uint64        // wake-ups of its workers that found none
	Uneven    float64       // standard deviation of the workers' requests, as a part of their mean
	Lingering float64       // connections, the mean of what was seen
}

// rate is answers a second.
func (s *Sample) rate() float64 { return float64(s.Answers) / s.Elapsed.Seconds() }

// cost is the server's CPU for a request, in microseconds.
func (s *Sample) cost() float64 {
	return per(float64(s.CPU)/float64(time.Microsecond), float64(s.Served))
}

// empty is how many wake-ups found nothing, for each connection.
func (s *Sample) empty() float64 { return per(float64(s.Empty), float64(s.Accepts)) }

// linger is how long a connection lingered, in milliseconds: by Little's law
// how many do, on average, divided by how many come in a millisecond.
func (s *Sample) linger() float64 {
	return per(s.Lingering*s.Elapsed.Seconds()*1000, float64(s.Answers+s.failed()))
}

// whole is the part of the requests that got a whole answer.
func (s *Sample) whole() float64 { return per(float64(s.Answers), float64(s.Answers+s.failed())) }

// per is v for each of n; 0 where there is none.
func per(v, n float64) float64 {
	if n == 0 {
		return 0
	}
	return v / n
}

// warmTime is how long a server is under its first load before anything is
// measured: it touches its memory, and its caches fill. It is a tenth of the load's
// time if that is less.
const warmTime = 100 * time.Millisecond

// visit starts a server with the setting, puts it under each of the loads for the
// duration, and stops it. The error is why the setting does not work here, or the
// context's.
func (r *run) visit(ctx context.Context, s Setting, under []Load, d time.Duration) ([]Sample, error) {
	srv, err := r.startServer(ctx, r.dir, s)
	if err != nil {
		return nil, err
	}
	defer srv.stop()
	generate(Order{Address: srv.address, Path: path, Load: under[0], Duration: min(d/10, warmTime)})
	var list []Sample
	for _, l := range under {
		smp, err := r.measure(ctx, srv, Order{Address: srv.address, Path: path, Load: l, Duration: d})
		if err != nil {
			return nil, fmt.Errorf("%v: %w", l, err)
		}
		list = append(list, smp)
	}
	return list, nil
}

func (r *run) measure(ctx context.Context, srv *server, o Order) (Sample, error) {
	before, err := srv.state()
	if err != nil {
		return Sample{}, err
	}
	lingering := srv.watchLingering()
	res, err := r.generate(ctx, o)
	s := Sample{Result: res, Lingering: lingering()}
	if err != nil {
		return s, err
	}
	after, err := srv.state()
	if err != nil {
		return s, err
	}
	return s, s.account(before, after)
}

// account adds what the server did meanwhile.
func (s *Sample) account(before, after state) error {
	s.CPU = after.cpu - before.cpu
	was := map[int]scoreboard.Worker{}
	for _, w := range before.workers {
		was[w.PID] = w
	}
	var requests []float64
	for _, w := range after.workers {
		b, ok := was[w.PID]
		if !ok {
			return errors.New("a worker died")
		}
		s.Served += w.Requests - b.Requests
		s.Accepts += w.Accepts - b.Accepts
		s.Empty += w.Empty - b.Empty
		requests = append(requests, float64(w.Requests-b.Requests))
	}
	if s.Served == 0 {
		return fmt.Errorf("no request was served%s", worst(s.Failed))
	}
	s.Uneven = uneven(requests)
	return nil
}

// worst names the most frequent failure.
func worst(failed [failures]int64) string {
	most := Failure(0)
	for f := range failures {
		if failed[f] > failed[most] {
			most = f
		}
	}
	if failed[most] == 0 {
		return ""
	}
	return ": " + most.String()
}

// uneven is the coefficient of variation.
func uneven(values []float64) float64 {
	var sum, squares float64
	for _, v := range values {
		sum += v
	}
	mean := sum / float64(len(values))
	for _, v := range values {
		squares += (v - mean) * (v - mean)
	}
	if mean == 0 {
		return 0
	}
	return math.Sqrt(squares/float64(len(values))) / mean
}

// lingerLook is how often it is looked how many connections linger.
const lingerLook = 2 * time.Millisecond

// watchLingering looks until the returned function is called, which returns the
// mean.
func (s *server) watchLingering() func() float64 {
	stop, mean := make(chan struct{}), make(chan float64)
	go func() {
		t := time.NewTicker(lingerLook)
		defer t.Stop()
		var sum, looks float64
		for {
			select {
			case <-stop:
				mean <- sum / max(looks, 1)
				return
			case <-t.C:
			}
			looks++
			if snap, err := s.board.Snapshot(); err == nil {
				for _, w := range snap.Workers {
					sum += float64(w.Connections.Lingering)
				}
			}
		}
	}()
	return func() float64 { close(stop); return <-mean }
}

// generate has a process of its own make the load, so that its CPU is apart.
func (r *run) generate(ctx context.Context, o Order) (Result, error) {
	var res Result
	order, err := json.Marshal(o)
	if err != nil {
		return res, err
	}
	cmd := exec.Command(r.Executable, LoadCommand)
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout = bytes.NewReader(order), &out
	said, ended := "", make(chan error, 1)
	if err := r.launch(cmd, syscall.SIGKILL, func(stderr *os.File) {
		var text bytes.Buffer
		text.ReadFrom(stderr)
		stderr.Close()
		said = strings.TrimSpace(text.String())
		ended <- cmd.Wait()
	}); err != nil {
		return res, err
	}
	select {
	case err = <-ended:
	case <-ctx.Done():
		cmd.Process.Kill()
		<-ended
		return res, context.Cause(ctx)
	case <-time.After(o.Duration + answerWait + startWait):
		cmd.Process.Kill()
		<-ended
		return res, errors.New("the load does not end")
	}
	if err != nil {
		return res, fmt.Errorf("load: %w: %s", err, said)
	}
	return res, json.Unmarshal(out.Bytes(), &res)
}

// launch starts a process that gets the signal when this one dies, out of reach
// of the terminal's Ctrl-C. follow is given what it prints on standard error, and
// has to wait for the process.
func (r *run) launch(cmd *exec.Cmd, death syscall.Signal, follow func(stderr *os.File)) error {
	in, out, err := os.Pipe()
	if err != nil {
		return err
	}
	defer out.Close()
	cmd.Stderr, cmd.Env = out, r.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: death}
	r.OnMain(func() { err = cmd.Start() })
	if err != nil {
		in.Close()
		return err
	}
	go follow(in)
	return nil
}
