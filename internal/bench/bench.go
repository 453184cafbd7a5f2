package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
)

// bench is one run: its folder, its files, and what it may start.
type bench struct {
	options
	dir      string // temporary, removed at the end
	root     string // document root
	files    string // root of X-Sendfile
	self     string // this program, for its hidden roles
	sluice   string // the binary to measure; "" without one
	counting string // the same that tells its allocations; "" without one
	user     string // account that servers started by root drop to; "" otherwise
	compiler string // what the CGI program was built with
	procs    *processes
	quick    error    // why no disk can be made slow, and the scenario that needs one is left out; nil: it can
	faults   []string // servers that could not take part, by their own fault
	missing  []string // programs that are not installed
}

func newBench(ctx context.Context, o options) (b *bench, err error) {
	b = &bench{options: o, sluice: o.sluice}
	if err := raiseDescriptors(); err != nil {
		return nil, fmt.Errorf("limit of descriptors: %w", err)
	}
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
	removeSlowDisks()
	b.quick = trySlowDisk(b.dir)
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
	if !b.wants("sluice") && !b.wants(sluiceMany) {
		return nil
	}
	if b.sluice == "" {
		path, err := buildSluice(ctx, b.dir)
		if err != nil {
			b.faults = append(b.faults, "sluice: left out: "+err.Error())
		}
		b.sluice = path
		if err == nil && slices.ContainsFunc(b.scenarios(), func(s scenario) bool { return s.trial == callsTrial }) {
			if b.counting, err = buildCounting(ctx, b.dir); err != nil {
				b.faults = append(b.faults, "sluice: allocations are left out: "+err.Error())
			}
		}
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
	wanted := []string{"php-fpm", "php-cgi", "fcgiwrap", "strace"}
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
		os.WriteFile(filepath.Join(b.files, mediumFile), make([]byte, mediumSize), 0o644),
		b.makeMany(), b.makeBig(), b.makeCold(), b.makeCGI(ctx))
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
