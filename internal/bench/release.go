package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"sluice/internal/samples"
)

// sendWord in a request's parameters has the child of the release scenarios
// name a file; without it the answer is small.
const sendWord = "send=1"

// releaseWork is how long that child computes before it names the file: another
// request is waiting by then.
const releaseWork = 50 * time.Millisecond

// releaseChild is its command line; it notes in gapsFile how long it was from
// its answer to the next request.
var releaseChild = []string{"-when", sendWord, "-work", releaseWork.String()}

const gapsFile = "gaps"

// Of one visit.
const (
	releases     = 10 // files named
	besideOthers = 50 // requests while a download runs
)

var releaseTrial = &trial{
	columns: []column{{"free: median ms", 2}, {"free: longest", 2}, {"next: median ms", 2}, {"next: longest", 2}},
	run: func(ctx context.Context, b *bench, in *instance) (x sample) {
		small := int64(len(smallAnswer))
		other := &asker{addr: in.address()}
		defer other.close()
		if err := other.ask(ctx, "/app", small, false); err != nil { // the end of the gap that check has left
			x.failed(1, "first: %v", err)
		}
		seen := len(in.gaps())
		for i := range releases {
			if err := releaseOnce(ctx, in, other); err != nil {
				x.failed(1, "release %d: %v", i+1, err)
				continue
			}
			x.requests += 2
		}
		slow, body, err := startDownload(ctx, in)
		if err != nil {
			x.failed(1, "download: %v", err)
			return x
		}
		ctx, stop := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- drip(ctx, slow, body) }()
		var next []time.Duration
		for range besideOthers {
			begin := time.Now()
			if err := other.ask(ctx, "/app", small, false); err != nil {
				x.failed(1, "beside a download: %v", err)
			}
			next = append(next, time.Since(begin))
		}
		stop()
		if err := <-done; err != nil {
			x.failed(1, "download: %v", err)
		}
		slow.close()
		gaps := in.gaps()[seen:]
		gaps = gaps[:min(len(gaps), releases)]
		if len(gaps) < releases {
			x.failed(1, "the child was free after %d of %d files", len(gaps), releases)
		}
		x.requests += besideOthers
		x.figures = []float64{ms(samples.Quantile(gaps, 0.5)), ms(samples.Quantile(gaps, 1)), ms(samples.Quantile(next, 0.5)), ms(samples.Quantile(next, 1))}
		return x
	},
}

// releaseOnce asks for a file that nobody reads, and has another request wait
// for the only child meanwhile.
func releaseOnce(ctx context.Context, in *instance, other *asker) error {
	slow := &asker{addr: in.address()}
	defer slow.close()
	if err := slow.send(ctx, in.scenario.path, false); err != nil {
		return err
	}
	pause(ctx, releaseWork/5)
	if err := other.ask(ctx, "/app", int64(len(smallAnswer)), false); err != nil {
		return fmt.Errorf("the waiting request: %w", err)
	}
	resp, err := slow.head()
	if err == nil && resp.ContentLength != in.scenario.size() {
		err = fmt.Errorf("length %d", resp.ContentLength)
	}
	return err
}

// gaps are what the child has noted so far.
func (in *instance) gaps() (list []time.Duration) {
	for _, g := range in.noted() {
		list = append(list, g.free)
	}
	return list
}

// gap is what the child notes of one answer.
type gap struct {
	free time.Duration // from its header block to the next request
	cut  bool          // it could not be said to its end
}

// cutWord stands behind the time of an answer that was cut off.
const cutWord = "cut"

func (in *instance) noted() (list []gap) {
	text, _ := os.ReadFile(filepath.Join(in.dir, gapsFile))
	for line := range strings.Lines(string(text)) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, _ := strconv.ParseInt(word, 10, 64)
		list = append(list, gap{time.Duration(n), rest == cutWord})
	}
	return list
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
