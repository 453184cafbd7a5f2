package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestReleasePolicies has a real sluice let go of children that are done, talk
// and compute: what the policies differ in is seen in the numbers.
func TestReleasePolicies(t *testing.T) {
	if testing.Short() {
		t.Skip("builds sluice")
	}
	dir := filepath.Join(t.TempDir(), folderPrefix+"test")
	b := &bench{dir: dir, root: dir, files: dir, self: os.Args[0]}
	err := os.Mkdir(dir, 0o755)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, smallFile), make([]byte, smallSize), 0o644)
	}
	if err == nil {
		b.sluice, err = buildSluice(t.Context(), dir)
	}
	if err == nil {
		b.procs, err = startProcesses(os.Args[0], dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer b.procs.close()
	const work = 300 * time.Millisecond
	const long = 10 * time.Second // on a busy machine
	for _, c := range []struct {
		child        []string
		least        time.Duration  // that the child is not free
		heard        map[string]int // by policy; -1: not told
		fileAtLatest time.Duration
	}{
		{nil, 0, map[string]int{"": policyReleases, "close": -1, "detach": policyReleases}, long},
		{[]string{"-more", "10000000"}, 0, map[string]int{"": 0, "close": 0, "detach": policyReleases}, long},
		// Nobody waits for a child that computes but who wants that child.
		{[]string{"-after", work.String()}, work, map[string]int{"": policyReleases, "close": 0, "detach": policyReleases}, work},
	} {
		for _, policy := range []string{"", "close", "detach"} {
			t.Run(fmt.Sprint(c.child, policy), func(t *testing.T) {
				s := scenario{kind: kindSend, path: "/app?" + sendWord, file: smallFile, procs: 1, policies: true,
					app: "release_timeout = \"10s\"\n", child: slices.Concat(releaseChild, c.child), trial: policiesTrial}
				in := &instance{server: server{name: "sluice", start: startSluice, release: policy}, scenario: s,
					dir: filepath.Join(t.TempDir(), "in")}
				var err error
				in.port, err = freePort()
				if err = errors.Join(err, os.Mkdir(in.dir, 0o755)); err == nil {
					err = startSluice(t.Context(), b, in)
				}
				if err != nil {
					t.Fatal(err)
				}
				defer b.procs.stopAll()
				x := policiesTrial.run(t.Context(), b, in)
				if x.errors > 0 || x.requests != 2*policyReleases {
					t.Fatalf("%d errors in %d requests: %s", x.errors, x.requests, x.fault)
				}
				free, longest, heard, began := x.figures[0], x.figures[1], x.figures[2], x.figures[3]
				if free <= 0 || free < ms(c.least) || longest < free || longest > ms(long) {
					t.Errorf("free after %v ms, at the latest after %v ms; want %v to %v ms", free, longest, ms(c.least), ms(long))
				}
				if want := c.heard[policy]; want >= 0 && heard != float64(want) {
					t.Errorf("%v answers heard out, want %d", heard, want)
				}
				if began > ms(c.fileAtLatest) {
					t.Errorf("the file begins after %v ms, want at most %v ms", began, ms(c.fileAtLatest))
				}
			})
		}
	}
}
