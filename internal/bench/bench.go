package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"time"
)

// bench is one run: its folder, its files, and what it may start.
type bench struct {
	options
	dir      string // temporary, removed at the end
	root     string // document root
	files    string // root of X-Sendfile
	self     string // this program, for its hidden roles
	sluice   string // the binary to measure; "" without one
	user     string // account that servers started by root drop to; "" otherwise
	compiler string // what the CGI program was built with
	procs    *processes
	faults   []string // servers that could not take part, by their own fault
	missing  []string // programs that are not installed
}

func newBench(ctx context.Context, o options) (b *bench, err error) {
	b = &bench{options: o, sluice: o.sluice}
	if _, err := lookPath("wrk"); err != nil {
		return nil, err
	}
	if b.self, err = os.Executable(); err != nil {
		return nil, err
	}
	if b.dir, err = os.MkdirTemp("", folderPrefix); err != nil {
		return nil, err
	}
	if os.Getuid() == 0 {
		if u, err := user.Lookup("www-data"); err == nil {
			b.user = u.Username
		}
	}
	b.root, b.files = filepath.Join(b.dir, "www"), filepath.Join(b.dir, "files")
	err = errors.Join(os.Chmod(b.dir, 0o755), b.makeFiles(ctx))
	if err == nil {
		err = b.findSluice(ctx)
	}
	if err == nil {
		b.procs, err = startProcesses(b.self, b.dir)
	}
	if err != nil {
		os.RemoveAll(b.dir)
		return nil, err
	}
	b.findPeers()
	return b, nil
}

func (b *bench) close() {
	b.procs.close()
	os.RemoveAll(b.dir)
}

// findSluice builds sluice unless one was named; without it the peers remain.
func (b *bench) findSluice(ctx context.Context) error {
	if !b.wants("sluice") {
		return nil
	}
	if b.sluice == "" {
		path, err := buildSluice(ctx, b.dir)
		if err != nil {
			b.faults = append(b.faults, "sluice: left out: "+err.Error())
		}
		b.sluice = path
		return nil
	}
	path, err := filepath.Abs(b.sluice)
	if err == nil {
		_, err = os.Stat(path)
	}
	b.sluice = path
	return err
}

// findPeers notes which programs are missing.
func (b *bench) findPeers() {
	wanted := []string{"php-fpm", "php-cgi", "fcgiwrap"}
	for _, s := range servers {
		if s.program != "" && b.wants(s.name) {
			wanted = append(wanted, s.program)
		}
	}
	seen := map[string]bool{}
	for _, name := range wanted {
		names := []string{name}
		if name == "php-fpm" {
			names = append(names, "php-fpm8.2", "php-fpm8.3", "php-fpm8.4")
		}
		if _, err := lookPath(names...); err != nil && !seen[name] {
			b.missing = append(b.missing, name)
		}
		seen[name] = true
	}
}

//go:embed cgi/answer.c
var answerC []byte

//go:embed cgi/answer.go.txt
var answerGo []byte

const phpPage = "<?php header('Content-Type: text/plain'); echo '%s', \"\\r\\n\";\n"

// makeFiles writes the two roots.
func (b *bench) makeFiles(ctx context.Context) error {
	small := bytes.Repeat([]byte("sluice benchmark\n"), smallSize/17+1)[:smallSize]
	page := fmt.Sprintf(phpPage, strings.TrimSpace(smallAnswer))
	return errors.Join(
		os.Mkdir(b.root, 0o755), os.Mkdir(b.files, 0o755),
		os.WriteFile(filepath.Join(b.root, smallFile), small, 0o644),
		os.WriteFile(filepath.Join(b.files, smallFile), small, 0o644),
		os.WriteFile(filepath.Join(b.root, "hello.php"), []byte(page), 0o644),
		b.makeBig(), b.makeCGI(ctx))
}

// makeBig writes the big file if a scenario sends it, to the disk, so that the
// kernel does not write it back during a load.
func (b *bench) makeBig() error {
	for _, s := range b.scenarios() {
		if s.file == bigFile {
			block := make([]byte, 1_000_000)
			for i := range block {
				block[i] = byte(i * 7 >> 3)
			}
			path := filepath.Join(b.files, bigFile)
			if err := os.WriteFile(path, bytes.Repeat(block, bigSize/len(block)), 0o644); err != nil {
				return err
			}
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			return errors.Join(f.Sync(), f.Close())
		}
	}
	return nil
}

// makeCGI compiles the CGI program: in C, else in Go.
func (b *bench) makeCGI(ctx context.Context) error {
	program := filepath.Join(b.root, "answer.cgi")
	source := filepath.Join(b.dir, "answer.c")
	b.compiler = "C, static (cc -O2)"
	cmd := exec.CommandContext(ctx, "cc", "-O2", "-static", "-o", program, source)
	if _, err := exec.LookPath("cc"); err != nil {
		source = filepath.Join(b.dir, "answer.go")
		b.compiler = "Go (no C compiler found)"
		cmd = exec.CommandContext(ctx, "go", "build", "-ldflags", "-s -w", "-o", program, source)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	}
	if err := errors.Join(os.WriteFile(filepath.Join(b.dir, "answer.c"), answerC, 0o644),
		os.WriteFile(filepath.Join(b.dir, "answer.go"), answerGo, 0o644)); err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the CGI program: %w: %s", err, firstLine(string(out)))
	}
	return os.Chmod(program, 0o755)
}

// runScenario starts every server, loads each once in every round, in rotated
// order, and stops them.
func (b *bench) runScenario(ctx context.Context, s scenario) (*result, error) {
	defer b.procs.stopAll()
	res := &result{scenario: s}
	for _, sv := range servers {
		if !sv.can(s) || !b.wants(sv.name) || sv.name == "sluice" && b.sluice == "" {
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
	for round := range b.rounds {
		for i := range res.rows {
			r := res.rows[(round+i)%len(res.rows)]
			r.samples = append(r.samples, b.visit(ctx, r.instance, b.duration))
			if err := ctx.Err(); err != nil {
				return nil, fmt.Errorf("%s: %s: %w", s.name, r.server, context.Cause(ctx))
			}
		}
	}
	return res, nil
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
	b.visit(ctx, in, time.Second) // warm: caches, connections to children, pages
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
	if in.scenario.kind == kindFile {
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

// visit is one load on one server, with the front end's CPU and memory.
func (b *bench) visit(ctx context.Context, in *instance, d time.Duration) sample {
	s := in.scenario
	before := in.frontEnd()
	var l load
	var err error
	if s.download {
		l = runDownloads(ctx, fmt.Sprintf("127.0.0.1:%d", in.port), s.path, s.size(), s.clients, d)
	} else {
		l, err = runWrk(ctx, in.url(), s.clients, d)
	}
	cpu, gone := cpuSince(before)
	if err = errors.Join(err, gone); err != nil {
		l.errors, l.fault = l.errors+1, strings.TrimSpace(l.fault+" "+err.Error())
	}
	x := sample{load: l, cpu: cpu}
	x.pss, x.peak = memory(in.frontEnd())
	return x
}
