package main

import (
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"sluice/internal/machine"
)

// versions are how each program tells its version.
var versions = [][]string{
	{"nginx", "-v"}, {"lighttpd", "-v"}, {"apache2", "-v"}, {"php-cgi", "-v"},
	{"php-fpm8.2", "-v"}, {"php-fpm", "-v"}, {"fcgiwrap", "-h"}, {"wrk", "-v"},
}

// machine describes where the run happens.
func (b *bench) machine(ctx context.Context) [][2]string {
	list := [][2]string{
		{"kernel", machine.Kernel()},
		{"CPUs", fmt.Sprintf("%d, %s", runtime.NumCPU(), machine.CPU())},
		{"rounds", fmt.Sprintf("%d of %v, servers in rotated order", b.rounds, b.duration)},
	}
	if b.sluice != "" {
		list = append(list, [2]string{"sluice", versionOf(ctx, b.sluice, "version")})
	}
	for _, v := range versions {
		path, err := lookPath(v[0])
		if err != nil {
			continue
		}
		list = append(list, [2]string{v[0], versionOf(ctx, path, v[1])})
	}
	return append(list, [2]string{"CGI program", b.compiler}, [2]string{"Go", runtime.Version()})
}

// versionOf is the first line with a digit that the program prints: fcgiwrap
// begins with its usage. wrk exits with 1.
func versionOf(ctx context.Context, path, flag string) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, _ := exec.CommandContext(ctx, path, flag).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.ContainsAny(line, "0123456789") {
			return strings.TrimSpace(line)
		}
	}
	return "version unknown"
}

// fairness is how the servers are set up and the loads counted.
var fairness = []string{
	"CPU is the front end's own (user and system time of master and workers), without its children; nginx's `cgi` row includes fcgiwrap.",
	"Ratios are medians of the ratios of single rounds. The brackets are the extremes of the rounds. A visit without any answer is an error, and no number.",
	"Clients, children and server share the CPUs: requests/s also measures the load generator and the children.",
	"No server writes an access log. All may send files by sendfile(2) (small ones lighttpd and sluice read and write), nginx with tcp_nopush; keep-alive is never ended by a number of requests.",
	"nginx has a process for each CPU, nginx-1 a single one: on few CPUs now the one and now the other is ahead, and bars are held to the better. `reuseport` and `accept_mutex`, tried in the same rounds, were not better than the two.",
	"nginx and sluice-many keep connections to children that hold many each; sluice, nginx-nokeep, lighttpd and Apache reach the same program in its one-connection mode, which is that of PHP.",
	"PHP: nginx and Apache use php-fpm, lighttpd and sluice spawn php-cgi; as many processes each, opcache as the distribution sets it.",
	"nginx-cache is nginx with open_file_cache for 1,000 files; sluice keeps 1,024 open, lighttpd every one for a while.",
	"Files at random: wrk asks every server for the same files in the same order. 1 MB is fetched by this program's own client, as 200 MB.",
	"wrk leaves out connections that hang; where fewer than a quarter of the clients are active (mean latency × rate), that is counted as an error. With a connection for each request its latency begins when it is connected.",
	"Apache has no X-Sendfile without mod_xsendfile, and takes no part there.",
}

// trialNotes are how what is no load is measured.
var trialNotes = []string{
	"Memory is of master and workers together, without the kernel's own for sockets. `idle`: after a load of 64 clients for a second, then three seconds after the connections' last answers; they are opened 2000 a second, and ask again all at once.",
	"`release`: the child computes for 50 ms before it names the file, so that another request waits for it; \"free\" is from its answer to its receipt of that request, \"next\" a request's whole time while a client takes 20 KB/s of the file.",
	"`policies`: as `release`, with sluice's other release policies beside its default, `drain`. \"Free\" is from the child's header block to its receipt of the request that waits for it, \"heard out\" how many of its 5 answers it could say to their ends (a dash is none), \"file begins\" from the request to the head of the answer, without the 50 ms. A child that computes can be hung up on, but not be freed.",
	"`calls`: system calls of all threads of master and workers, over 400 requests, without what a forked process calls before it executes the script. strace makes everything slow, and what sleeps or polls meanwhile is counted too: most nanosleep and futex calls are that.",
	"`cold`: a blkio group lets master and workers make 400 reads a second; the files of the cold clients (40,000 of 4,500 bytes, which the servers' account may not write) are evicted before each load. The hot client is a process of its own. After a 503 a cold client waits for the Retry-After and up to a second more. \"Threads\" are those of master and workers. nginx-aio is nginx with `aio threads`. docs/cold-files.md says more.",
	"Allocations are counted by the Go runtime, in a build of the same code over which one file was laid that tells them.",
}

// notes are what a reader must know to judge the tables.
func notes(b *bench) []string {
	list := slices.Clone(fairness)
	for _, s := range b.scenarios() {
		if s.trial != nil {
			list = append(list, trialNotes...)
			break
		}
	}
	if b.quick != nil && slices.ContainsFunc(b.scenarios(), func(s scenario) bool { return !b.able(s) }) {
		list = append(list, fmt.Sprintf("`cold` is left out: no disk can be made slow here: %v.", b.quick))
	}
	for _, name := range b.missing {
		list = append(list, name+" is not installed: left out.")
	}
	return list
}
