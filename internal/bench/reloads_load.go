package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"sluice/internal/samples"
)

// visitLoad is a load of which half of the clients keep their connections and half
// have a new one for each request.
type visitLoad struct {
	name    string
	clients int
	rate    int // requests a second of all together; 0: as fast as they get answers
}

var visitLoads = []visitLoad{{"50/s", 10, 50}, {"full load", 16, 0}}

// visits are what clients of both sorts saw.
type visits struct{ kept, fresh []visited }

// visited is one request.
type visited struct {
	at   span
	why  string // what was wrong; "": nothing
	gone bool   // its connection was kept, and had been closed without a word
}

func (v visited) took() time.Duration { return v.at.until.Sub(v.at.from) }

func (v *visits) all() []visited { return slices.Concat(v.kept, v.fresh) }

// visitor asks for an answer of the application and a file in turn.
type visitor struct {
	addr  string
	small []byte
	keeps bool
	turn  int
	conn  net.Conn
	r     *bufio.Reader
	used  bool // the connection has had an answer
	visited
	seen []visited
}

func (v *visitor) close() {
	if v.conn != nil {
		v.conn.Close()
		v.conn = nil
	}
}

// exchange does one request, and notes what came of it.
func (v *visitor) exchange() {
	v.visited = visited{at: span{from: time.Now()}}
	kept := v.conn != nil && v.used
	got, err := v.converse()
	v.at.until = time.Now()
	switch {
	case err == nil:
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		v.why = "reset"
	case errors.Is(err, os.ErrDeadlineExceeded):
		v.why = "no answer in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		v.why = "closed"
	default:
		v.why = err.Error()
	}
	v.gone = kept && !got && (v.why == "closed" || v.why == "reset")
	if err != nil || !v.keeps {
		v.close()
	}
	v.seen = append(v.seen, v.visited)
}

// converse says whether anything of an answer came, and what was wrong with it.
func (v *visitor) converse() (got bool, err error) {
	if v.conn == nil {
		if v.conn, err = net.DialTimeout("tcp", v.addr, askLimit); err != nil {
			return false, fmt.Errorf("not connected: %w", errors.Unwrap(err))
		}
		v.r, v.used = bufio.NewReader(v.conn), false
	}
	v.conn.SetDeadline(time.Now().Add(askLimit))
	path, want := "/app", []byte(smallAnswer)
	if v.turn++; v.turn%2 == 0 {
		path, want = "/"+smallFile, v.small
	}
	if _, err := fmt.Fprintf(v.conn, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, v.addr); err != nil {
		return false, err
	}
	if _, err := v.r.Peek(1); err != nil {
		return false, err
	}
	resp, err := http.ReadResponse(v.r, nil)
	if err != nil {
		return true, err
	}
	body, err := io.ReadAll(resp.Body)
	v.used = true
	switch {
	case err != nil:
		return true, err
	case resp.Close:
		defer v.close()
	}
	if resp.StatusCode != http.StatusOK {
		return true, errors.New(fmt.Sprint(resp.StatusCode))
	}
	if !bytes.Equal(body, want) {
		return true, errors.New("wrong answer")
	}
	return true, nil
}

// small is the static file.
func (b *bench) small() []byte {
	text, _ := os.ReadFile(filepath.Join(b.root, smallFile))
	return text
}

// visit has the clients of a load ask for so long, or until the context ends.
func (d *disturbed) visit(ctx context.Context, l visitLoad, long time.Duration) visits {
	ctx, cancel := context.WithTimeout(ctx, long)
	defer cancel()
	turns := make(chan struct{})
	go func() {
		defer close(turns)
		every := time.Duration(0)
		if l.rate > 0 {
			every = time.Second / time.Duration(l.rate)
		}
		for next := time.Now(); ctx.Err() == nil; next = next.Add(every) {
			if every > 0 {
				time.Sleep(time.Until(next))
			}
			select {
			case turns <- struct{}{}:
			case <-ctx.Done():
			}
		}
	}()
	small := d.b.small()
	var (
		mu  sync.Mutex
		all visits
		wg  sync.WaitGroup
	)
	for i := range l.clients {
		wg.Go(func() {
			v := &visitor{addr: d.addr(), small: small, keeps: i%2 == 0, turn: i / 2}
			for range turns {
				v.exchange()
			}
			v.close()
			mu.Lock()
			defer mu.Unlock()
			if v.keeps {
				all.kept = append(all.kept, v.seen...)
			} else {
				all.fresh = append(all.fresh, v.seen...)
			}
		})
	}
	wg.Wait()
	return all
}

// slowAnswer is the bar: no request is delayed by more.
const slowAnswer = 50 * time.Millisecond

// figures are what is told of a number of requests.
type figures struct {
	requests       int
	failed, resets int
	gone           int // kept connections that were closed without a word
	why            map[string]int
	p50, p99, most time.Duration
	slow           int // took longer than slowAnswer
}

func figuresOf(all []visited) figures {
	f := figures{requests: len(all), why: map[string]int{}}
	var times []time.Duration
	for _, v := range all {
		times = append(times, v.took())
		if v.took() > slowAnswer {
			f.slow++
		}
		if v.why == "reset" {
			f.resets++
		}
		switch {
		case v.gone:
			f.gone++
		case v.why != "":
			f.failed++
			f.why[v.why]++
		}
	}
	slices.Sort(times)
	if len(times) > 0 {
		f.p50, f.p99, f.most = samples.Quantile(times, 0.5), samples.Quantile(times, 0.99), samples.Quantile(times, 1)
	}
	return f
}

// afterwards still belongs to a change: what serves is cold, and what has served
// finishes.
const afterwards = 50 * time.Millisecond

// apart are the requests that were under way while it happened, and the others.
func apart(all []visited, spans []span) (meanwhile, beside []visited) {
	for _, v := range all {
		if slices.ContainsFunc(spans, func(s span) bool { return s.from.Before(v.at.until) && s.until.Add(afterwards).After(v.at.from) }) {
			meanwhile = append(meanwhile, v)
		} else {
			beside = append(beside, v)
		}
	}
	return meanwhile, beside
}
