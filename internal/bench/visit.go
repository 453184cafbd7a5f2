package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// runScenario starts every server, visits each once in every round, in rotated
// order, and stops them. A server that does not start, and a visit that fails,
// is noted; only the end of the context ends the scenario.
func (b *bench) runScenario(ctx context.Context, s scenario) *result {
	defer b.procs.stopAll()
	res := &result{scenario: s}
	for _, sv := range servers {
		if !sv.can(s) || !b.wants(sv.name) || strings.HasPrefix(sv.name, "sluice") && b.sluice == "" {
			continue
		}
		in, err := b.startInstance(ctx, sv, s)
		switch {
		case errors.Is(err, errNotInstalled):
		case err != nil:
			b.faults = append(b.faults, fmt.Sprintf("%s: %s: %v", s.name, sv.name, err))
		default:
			res.rows = append(res.rows, &row{server: sv.name, instance: in})
		}
	}
	for round := range s.most(b.rounds) {
		for i := range res.rows {
			r := res.rows[(round+i)%len(res.rows)]
			x := b.visit(ctx, r.instance, b.duration)
			if ctx.Err() != nil {
				return res
			}
			r.samples = append(r.samples, x)
		}
	}
	return res
}

// startInstance starts one server and waits until it gives the right answer.
func (b *bench) startInstance(ctx context.Context, sv server, s scenario) (*instance, error) {
	in := &instance{server: sv, scenario: s, dir: filepath.Join(b.dir, s.name, sv.name)}
	if err := errors.Join(os.MkdirAll(in.dir, 0o755), b.own(in.dir)); err != nil {
		return nil, err
	}
	var err error
	if in.port, err = freePort(); err != nil {
		return nil, err
	}
	if err := sv.start(ctx, b, in); err != nil {
		return nil, err
	}
	for range 100 {
		if err = b.check(ctx, in); err == nil {
			break
		}
		if !in.front[0].sleep(ctx, 100*time.Millisecond) {
			return nil, fmt.Errorf("ended at start: %s", in.front[0].tail())
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, in.front[len(in.front)-1].tail())
	}
	if s.trial == nil {
		b.visit(ctx, in, time.Second) // warm: caches, connections to children, pages
	}
	return in, nil
}

// own gives a folder to the account that servers drop to.
func (b *bench) own(dir string) error {
	if b.user == "" {
		return nil
	}
	return os.Chmod(dir, 0o777)
}

// check asks once and compares the answer.
func (b *bench) check(ctx context.Context, in *instance) error {
	var want io.Reader = strings.NewReader(smallAnswer)
	name := in.scenario.file
	switch {
	case in.scenario.many != nil:
		name = in.scenario.many.name(0)
	case in.scenario.kind == kindFile, in.scenario.kind == kindCold:
		name = smallFile
	}
	if name != "" {
		f, err := os.Open(filepath.Join(b.files, name))
		if err != nil {
			return err
		}
		defer f.Close()
		want = f
	}
	return probe(ctx, in.url(), want)
}

// visit is one load on one server, with the front end's CPU and memory, or one
// trial.
func (b *bench) visit(ctx context.Context, in *instance, d time.Duration) sample {
	s := in.scenario
	if s.trial != nil {
		return s.trial.run(ctx, b, in)
	}
	before := in.frontEnd()
	var l load
	var err error
	if s.download {
		l = runDownloads(ctx, in.address(), s.path, s.size(), s.clients, d)
	} else {
		var before, behind []string
		if before, behind, err = s.script(in.dir); err == nil {
			l, err = runWrk(ctx, in.url(), s.clients, d, s.connect, before, behind)
		}
	}
	cpu, gone := cpuSince(before)
	if err = errors.Join(err, gone); err != nil {
		l.errors, l.fault = l.errors+1, strings.TrimSpace(l.fault+" "+err.Error())
	}
	x := sample{load: l, cpu: cpu}
	x.pss, x.peak = memory(in.frontEnd())
	return x
}
