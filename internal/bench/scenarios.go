package main

import (
	"context"
	"slices"
	"strings"
)

// kind is what answers in a scenario.
type kind int

const (
	kindFastCGI kind = iota // the bench child's own answer
	kindPHP
	kindCGI
	kindFile
	kindSend // a file that the bench child names in a header
	kindCold // files, of which some are not in memory
)

// scenario is one load, or one trial, on every server that can do it.
type scenario struct {
	name     string
	title    string
	kind     kind
	clients  int
	path     string   // asked for
	file     string   // kindSend: the file in the send root that the child names
	many     *fileSet // asked for at random, by their numbers; nil: always the same
	download bool     // measured in bytes, by this program's own client
	connect  bool     // a connection for each request
	procs    int      // long-lived children, for every server; 0: 4
	child    []string // more arguments of the bench child
	app      string   // more lines of sluice's [[app]] block
	rounds   int      // at most; 0: as many as asked for
	held     int      // descriptors that a server must be able to hold; 0: a few
	policies bool     // also on sluice with its other release policies
	trial    *trial   // nil: a load
}

// trial measures something else than a load: its sample has a figure for each
// of its columns.
type trial struct {
	columns []column
	run     func(context.Context, *bench, *instance) sample
}

// column is one number of a trial.
type column struct {
	name   string
	digits int
}

// scenarios are in the order in which they run. Those without a bar to hold
// have fewer rounds.
var scenarios = []scenario{
	{name: "fastcgi-4", title: "small FastCGI answer, 4 clients, 4 children", kind: kindFastCGI, clients: 4, path: "/app"},
	{name: "fastcgi-64", title: "small FastCGI answer, 64 clients, 4 children", kind: kindFastCGI, clients: 64, path: "/app"},
	{name: "php-4", title: "small PHP page, 4 clients, 4 children", kind: kindPHP, clients: 4, path: "/hello.php", rounds: 3},
	{name: "php-64-1", title: "small PHP page, 64 clients, 1 child", kind: kindPHP, clients: 64, path: "/hello.php", procs: 1, rounds: 3},
	{name: "php-64", title: "small PHP page, 64 clients, 4 children", kind: kindPHP, clients: 64, path: "/hello.php", rounds: 3},
	{name: "php-64-16", title: "small PHP page, 64 clients, 16 children", kind: kindPHP, clients: 64, path: "/hello.php", procs: 16, rounds: 3},
	{name: "cgi", title: "small CGI answer, 4 clients", kind: kindCGI, clients: 4, path: "/answer.cgi"},
	{name: "file", title: "static file of 4.5 KB, 64 clients", kind: kindFile, clients: 64, path: "/" + smallFile},
	{name: "file-2000", title: "2,000 static files of 4.5 KB at random, 64 clients", kind: kindFile, clients: 64, path: "/" + sameFiles.name(0), many: sameFiles, rounds: 3},
	{name: "images", title: "an image host: 10,000 static files, 4.5 KB at the median, half of the requests for 500 of them, 64 clients", kind: kindFile, clients: 64,
		path: "/" + images.name(0), many: images, rounds: 2},
	{name: "xsendfile-small", title: "file of 4.5 KB by X-Sendfile, 64 clients, 4 children", kind: kindSend, clients: 64, path: "/app", file: smallFile},
	{name: "xsendfile-2000", title: "2,000 files of 4.5 KB at random by X-Sendfile, 64 clients, 4 children", kind: kindSend, clients: 64, path: "/app", many: sameFiles, rounds: 3},
	{name: "xsendfile-1m", title: "file of 1 MB by X-Sendfile, 16 clients, 4 children", kind: kindSend, clients: 16, path: "/app", file: mediumFile, download: true, rounds: 2},
	{name: "xsendfile-200m-1", title: "file of 200 MB by X-Sendfile, 1 client", kind: kindSend, clients: 1, path: "/app", file: bigFile, download: true},
	{name: "xsendfile-200m-4", title: "file of 200 MB by X-Sendfile, 4 clients", kind: kindSend, clients: 4, path: "/app", file: bigFile, download: true},
	{name: "connect-file", title: "static file of 4.5 KB, 64 clients, a connection for each request", kind: kindFile, clients: 64, path: "/" + smallFile, connect: true, rounds: 3},
	{name: "connect-fastcgi", title: "small FastCGI answer, 64 clients, a connection for each request, 4 children", kind: kindFastCGI, clients: 64, path: "/app", connect: true, rounds: 3},
	{name: "release", title: "one child that names a file of 200 MB for slow clients and is done, and other requests beside that",
		kind: kindSend, path: "/app?" + sendWord, file: bigFile, procs: 1, child: releaseChild, rounds: 3, trial: releaseTrial},
	{name: "release-close", title: "the same child, which after its header block waits for ever to be hung up on (sluice: `release = \"close\"`)",
		kind: kindSend, path: "/app?" + sendWord, file: bigFile, procs: 1, child: slices.Concat(releaseChild, []string{"-dawdle"}), app: "release = \"close\"\n", rounds: 3, trial: releaseTrial},
	{name: "policies-done", title: "one child that names a file of 200 MB and is done", kind: kindSend, path: "/app?" + sendWord, file: bigFile,
		procs: 1, child: releaseChild, rounds: 1, policies: true, trial: policiesTrial},
	{name: "policies-talk", title: "the same child, which has 10 MB more to say", kind: kindSend, path: "/app?" + sendWord, file: bigFile,
		procs: 1, child: slices.Concat(releaseChild, []string{"-more", "10000000"}), rounds: 1, policies: true, trial: policiesTrial},
	{name: "policies-work", title: "the same child, which computes for a second more", kind: kindSend, path: "/app?" + sendWord, file: bigFile,
		procs: 1, child: slices.Concat(releaseChild, []string{"-after", "1s"}), rounds: 1, policies: true, trial: policiesTrial},
	{name: "downloads", title: "slow downloads (20 KB/s) of 200 MB by X-Sendfile at once, 4 children", kind: kindSend, path: "/app", file: bigFile,
		held: 2 * mostDownloads, rounds: 1, trial: downloadsTrial},
	{name: "idle", title: "10,000 idle keep-alive connections that had one request each", kind: kindFile, path: "/" + smallFile,
		held: idleConnections, rounds: 1, trial: idleTrial},
	{name: "cold", title: "a file in memory every 2 ms beside clients of others, on a disk of 400 reads/s", kind: kindCold, path: "/" + smallFile,
		held: 2 * manyCold, rounds: 2, trial: coldTrial},
	{name: "calls-fastcgi", title: "a request under strace: small FastCGI answer, 4 connections", kind: kindFastCGI, path: "/app", rounds: 1, trial: callsTrial},
	{name: "calls-cgi", title: "a request under strace: small CGI answer, 4 connections", kind: kindCGI, path: "/answer.cgi", rounds: 1, trial: callsTrial},
	{name: "calls-send", title: "a request under strace: file of 4.5 KB by X-Sendfile, 4 connections", kind: kindSend, path: "/app", file: smallFile, rounds: 1, trial: callsTrial},
	{name: "calls-keepalive", title: "a request under strace: static file of 4.5 KB, 4 connections", kind: kindFile, path: "/" + smallFile, rounds: 1, trial: callsTrial},
	{name: "calls-file", title: "a request under strace: static file of 4.5 KB, a connection for each", kind: kindFile, path: "/" + smallFile, connect: true, rounds: 1, trial: callsTrial},
}

// named says whether the scenario has that name, or belongs to that group.
func (s scenario) named(name string) bool {
	return s.name == name || strings.HasPrefix(s.name, name+"-")
}

func scenarioNames() []string {
	var names []string
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	return names
}

// size is the length of the right answer's body.
func (s scenario) size() int64 {
	switch {
	case s.file == bigFile:
		return bigSize
	case s.file == mediumFile:
		return mediumSize
	case s.file == smallFile, s.kind == kindFile, s.kind == kindCold:
		return smallSize
	}
	return int64(len(smallAnswer))
}

// children is how many long-lived children serve the scenario, for every server.
func (s scenario) children() int {
	if s.procs == 0 {
		return 4
	}
	return s.procs
}

// most is how many rounds the scenario takes of so many.
func (s scenario) most(rounds int) int {
	if s.rounds == 0 {
		return rounds
	}
	return min(rounds, s.rounds)
}

// smallAnswer is the body of the small answers; cgi/answer.c has it too.
const smallAnswer = "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnop\r\n"

const (
	smallFile  = "page.txt"
	smallSize  = 4608
	mediumFile = "medium.bin"
	mediumSize = 1_000_000
	bigFile    = "big.bin"
	bigSize    = 200_000_000
)
