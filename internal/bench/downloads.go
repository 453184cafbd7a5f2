package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// downloadLevels are how many downloads run at once, one after the other.
var downloadLevels = []int{1, 100, mostDownloads}

const mostDownloads = 1000

// A slow client takes slowBytes every slowPause: 20 KB/s.
const (
	slowBytes  = 4 << 10
	slowPause  = 200 * time.Millisecond
	slowBuffer = 16 << 10 // of the socket, so that the server feels it
)

var downloadsTrial = &trial{
	columns: []column{{"PSS MiB, 1", 1}, {"PSS MiB, 100", 1}, {"PSS MiB, 1000", 1}, {"KiB/download", 1}},
	run: func(ctx context.Context, b *bench, in *instance) (x sample) {
		ctx, stop := context.WithCancel(ctx)
		d := &slowDownloads{in: in}
		defer func() { stop(); d.group.Wait() }()
		var pss []int64
		for _, level := range downloadLevels {
			if err := d.grow(ctx, level); err != nil {
				x.failed(1, "%d downloads: %v", level, err)
			}
			pause(ctx, parked)
			pss = append(pss, in.resident().pss)
			x.figures = append(x.figures, mebi(pss[len(pss)-1]))
			if n := d.broken.Load(); n > 0 {
				x.failed(n, "%d of %d downloads broke", n, level)
			}
		}
		x.requests = int64(d.running)
		last := len(pss) - 1
		each := float64(pss[last]-pss[0]) / float64(downloadLevels[last]-downloadLevels[0])
		x.figures = append(x.figures, each/(1<<10))
		return x
	},
}

// slowDownloads are clients of one server.
type slowDownloads struct {
	in      *instance
	running int
	broken  atomic.Int64
	group   sync.WaitGroup
}

// grow starts downloads until so many run.
func (d *slowDownloads) grow(ctx context.Context, level int) error {
	for ; d.running < level; d.running++ {
		a, body, err := startDownload(ctx, d.in)
		if err != nil {
			return err
		}
		d.group.Go(func() {
			defer a.close()
			if err := drip(ctx, a, body); err != nil && ctx.Err() == nil {
				d.broken.Add(1)
			}
		})
	}
	return nil
}

// startDownload asks for the scenario's file and reads the head of the answer.
func startDownload(ctx context.Context, in *instance) (*asker, io.Reader, error) {
	a := &asker{addr: in.address()}
	if err := a.open(ctx); err != nil {
		return nil, nil, err
	}
	a.conn.(*net.TCPConn).SetReadBuffer(slowBuffer)
	err := a.send(ctx, in.scenario.path, false)
	if err != nil {
		a.close()
		return nil, nil, err
	}
	resp, err := a.head()
	if err == nil && resp.ContentLength != in.scenario.size() {
		err = fmt.Errorf("length %d", resp.ContentLength)
	}
	if err != nil {
		a.close()
		return nil, nil, err
	}
	return a, resp.Body, nil
}

// drip reads slowly until the context ends.
func drip(ctx context.Context, a *asker, body io.Reader) error {
	buf := make([]byte, slowBytes)
	for ctx.Err() == nil {
		a.conn.SetReadDeadline(time.Now().Add(askerLimit))
		if _, err := io.ReadFull(body, buf); err != nil {
			return err
		}
		pause(ctx, slowPause)
	}
	return nil
}
