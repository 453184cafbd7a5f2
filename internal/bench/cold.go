package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// A disk for the cold trial, and the clients that read from it, one number after
// the other.
const (
	coldReads = 400 // a second
	fewCold   = 32
	manyCold  = 2000
	coldTime  = 4 * time.Second
	aloneTime = time.Second
	// settleTime is for all clients to have connected and asked.
	settleTime = time.Second
)

// coldTrial has one client ask for one file, which is in memory, every 2 ms,
// while others ask for files that are not.
var coldTrial = &trial{columns: coldColumns, run: runCold}

var coldColumns = []column{
	{"hot alone: p50 ms", 2}, {"p99 alone", 2},
	{"beside 32: p50", 2}, {"p99 beside 32", 2}, {"cold/s of 32", 0}, {"503 % of 32", 0}, {"threads beside 32", 0},
	{"beside 2000: p50", 2}, {"p99 beside 2000", 2}, {"cold/s of 2000", 0}, {"503 % of 2000", 0}, {"threads beside 2000", 0},
}

func runCold(ctx context.Context, b *bench, in *instance) (x sample) {
	x.figures = make([]float64, len(coldColumns))
	disk, err := newSlowDisk(filepath.Base(b.dir), b.root, coldReads)
	if err != nil {
		x.failed(1, "slow disk: %v", err)
		return x
	}
	defer disk.close()
	if err := disk.have(in.frontEnd()); err != nil {
		x.failed(1, "slow disk: %v", err)
		return x
	}
	if err := in.calm(ctx); err != nil {
		x.failed(1, "before the load: %v", err)
	}
	at := 0
	for _, clients := range []int{0, fewCold, manyCold} {
		d := aloneTime
		if clients > 0 {
			d = coldTime
			if err := b.evict(); err != nil {
				x.failed(1, "evict: %v", err)
				return x
			}
		}
		load := startCold(ctx, in, clients)
		pause(ctx, settleTime)
		hot, err := runHot(ctx, b.self, in.address(), in.scenario.path, d)
		threads := in.threads()
		load.stop()
		if err != nil {
			x.failed(1, "the hot client beside %d: %v", clients, err)
		}
		if n := load.broken.Load(); n > 0 {
			x.failed(n, "%d of %d cold clients: %v", n, clients, load.fault.Load())
		}
		x.requests += int64(hot.n) + load.served.Load()
		x.figures[at], x.figures[at+1] = ms(hot.p50), ms(hot.p99)
		at += 2
		if clients > 0 {
			served, shed := float64(load.served.Load()), float64(load.shed.Load())
			x.figures[at], x.figures[at+1], x.figures[at+2] = served/load.took.Seconds(), 100*shed/max(served+shed, 1), float64(threads)
			at += 3
		}
	}
	return x
}

// calm waits until the server has done what clients of the round before have
// asked for, although they left.
func (in *instance) calm(ctx context.Context) error {
	a := &asker{addr: in.address()}
	defer a.close()
	fast := 0
	for end := time.Now().Add(2 * askerLimit); fast < calmAnswers && time.Now().Before(end) && ctx.Err() == nil; fast++ {
		begin := time.Now()
		if err := a.ask(ctx, in.scenario.path, in.scenario.size(), false); err != nil {
			return err
		}
		if time.Since(begin) > calmAnswer {
			fast = -1
		}
		pause(ctx, 10*time.Millisecond)
	}
	return nil
}

// So many answers in a row within such a time are calm.
const (
	calmAnswers = 50
	calmAnswer  = 20 * time.Millisecond
)

// threads are those of the whole front end.
func (in *instance) threads() (n int) {
	for _, m := range in.frontEnd() {
		tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", m.pid))
		n += len(tasks)
	}
	return n
}

// coldLoad are clients that ask for cold files.
type coldLoad struct {
	served, shed, broken atomic.Int64
	fault                atomic.Value
	took                 time.Duration
	stop                 func()
}

// startCold connects so many clients and has them ask.
func startCold(ctx context.Context, in *instance, clients int) *coldLoad {
	l := &coldLoad{}
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	begin := time.Now()
	for range clients {
		group.Go(func() {
			a := &asker{addr: in.address()}
			defer a.close()
			err := a.open(ctx)
			if err == nil {
				conn := a.conn
				free := context.AfterFunc(ctx, func() { conn.Close() })
				defer free()
				err = l.ask(ctx, a)
			}
			if err != nil && ctx.Err() == nil {
				l.fault.Store(err)
				l.broken.Add(1)
			}
		})
	}
	l.stop = func() {
		l.took = time.Since(begin)
		cancel()
		group.Wait()
	}
	return l
}

// ask asks for one file after the other. After a 503 it waits as long as it is
// told and, so that they do not all come back at once, up to a second more.
func (l *coldLoad) ask(ctx context.Context, a *asker) error {
	for ctx.Err() == nil {
		if err := a.send(ctx, coldPath(rand.IntN(coldFiles)), false); err != nil {
			return err
		}
		resp, err := a.answer()
		if err != nil {
			return err
		}
		n, err := io.Copy(io.Discard, resp.Body)
		switch {
		case err != nil:
			return err
		case resp.StatusCode == http.StatusServiceUnavailable:
			l.shed.Add(1)
			after, err := strconv.Atoi(resp.Header.Get("Retry-After"))
			if err != nil {
				return errors.New("503 without Retry-After")
			}
			pause(ctx, time.Duration((float64(after)+rand.Float64())*float64(time.Second)))
		case resp.StatusCode != http.StatusOK || n != coldSize:
			return fmt.Errorf("status %s, %d bytes", resp.Status, n)
		default:
			l.served.Add(1)
		}
	}
	return nil
}
