package main

import (
	"context"
	"fmt"
	"time"

	"sluice/internal/samples"
)

// policyReleases is how many files the child names in one visit.
const policyReleases = 5

// policiesTrial has a file named by a child that may have more to do, while
// another request waits for it: how long the child is not free, what it could
// say, and whether the file's client had to wait for it.
var policiesTrial = &trial{
	columns: []column{{"free: median ms", 2}, {"free: longest", 2}, {"heard out", 0}, {"file begins: median ms", 2}, {"file begins: longest", 2}},
	run: func(ctx context.Context, b *bench, in *instance) (x sample) {
		other := &asker{addr: in.address()}
		defer other.close()
		if err := other.ask(ctx, "/app", int64(len(smallAnswer)), false); err != nil { // the end of the gap that check has left
			x.failed(1, "first: %v", err)
		}
		seen := len(in.noted())
		var began []time.Duration
		for i := range policyReleases {
			d, err := nameOnce(ctx, in, other)
			if err != nil {
				x.failed(1, "release %d: %v", i+1, err)
				continue
			}
			began = append(began, d)
			x.requests += 2
		}
		var free []time.Duration
		heard := 0
		for _, g := range in.noted()[seen:] {
			free = append(free, g.free)
			if !g.cut {
				heard++
			}
		}
		if len(free) != policyReleases {
			x.failed(1, "the child was free after %d of %d files", len(free), policyReleases)
		}
		x.figures = []float64{ms(samples.Quantile(free, 0.5)), ms(samples.Quantile(free, 1)), float64(heard),
			ms(samples.Quantile(began, 0.5)), ms(samples.Quantile(began, 1))}
		return x
	},
}

// nameOnce asks for a file that nobody reads, and has another request wait for
// the only child. began is from the file's request to the head of its answer,
// without the work that comes before the child's header block.
func nameOnce(ctx context.Context, in *instance, other *asker) (began time.Duration, err error) {
	slow := &asker{addr: in.address()}
	defer slow.close()
	if err := slow.open(ctx); err != nil {
		return 0, err
	}
	start := time.Now()
	if err := slow.send(ctx, in.scenario.path, false); err != nil {
		return 0, err
	}
	head := make(chan error, 1)
	go func() {
		resp, err := slow.head()
		began = time.Since(start) - releaseWork
		if err == nil && resp.ContentLength != in.scenario.size() {
			err = fmt.Errorf("length %d", resp.ContentLength)
		}
		head <- err
	}()
	pause(ctx, releaseWork/5)
	if err := other.ask(ctx, "/app", int64(len(smallAnswer)), false); err != nil {
		slow.conn.Close() // ends the goroutine
		<-head
		return 0, fmt.Errorf("the waiting request: %w", err)
	}
	err = <-head
	return began, err
}
