// Command bench compares sluice with nginx, lighttpd and Apache on this machine.
//
// One run starts every server on 127.0.0.1 in a temporary directory, with the
// same children and the same load generator (wrk), and visits them in several
// interleaved rounds, so that a change of the machine's speed hits all alike.
// Ratios are taken inside one round and then reduced to their median.
//
//	go run ./internal/bench [-rounds 5] [-duration 2s] [-only fastcgi-4,file]
//	    [-servers sluice,nginx] [-sluice PATH] [-markdown FILE]
//	go run ./internal/bench -faults [-duration 10s] [-kills 10000] [-markdown FILE]
//	go run ./internal/bench -reloads [-servers sluice,nginx] [-markdown FILE]
//
// As defaults it takes twenty minutes. A peer that is not installed is
// named and left out, and a visit that fails does not end the run. The exit
// status is 1 when a server could not be started, or gave an error or an answer
// other than 2xx; a bar that sluice misses is no error.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	rounds   int
	duration time.Duration
	only     []string // scenario names or prefixes up to a dash; empty: all
	servers  []string // server names; empty: all
	sluice   string   // path of a sluice binary; "": build ./cmd/sluice
	markdown string   // file for the Markdown report; "": none
	faults   bool     // faults of children in place of the comparison
	kills    int      // of the growth part of faults
	reloads  bool     // changes of the configuration in place of the comparison
}

func main() {
	if len(os.Args) > 2 && os.Args[1] == "-child" {
		os.Exit(runHidden(os.Args[2], os.Args[3:]))
	}
	o, err := parseOptions(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	faults, err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	for _, f := range faults {
		fmt.Fprintln(os.Stderr, "bench: fault:", f)
	}
	if len(faults) > 0 {
		os.Exit(1)
	}
}

// runHidden is the program in one of the roles that the harness starts itself in.
func runHidden(role string, args []string) int {
	var err error
	switch role {
	case "fastcgi":
		err = childMain(args)
	case "hot":
		err = hotMain(args, os.Stdout)
	case "watchdog":
		err = watchdogMain(os.Stdin, args)
	default:
		err = fmt.Errorf("unknown role %q", role)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

func parseOptions(args []string) (options, error) {
	var o options
	var only, servers string
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.IntVar(&o.rounds, "rounds", 5, "interleaved rounds")
	f.DurationVar(&o.duration, "duration", 2*time.Second, "of one load, in whole seconds (wrk counts in them)")
	f.StringVar(&only, "only", "", "scenarios, comma-separated; a prefix names its group: "+strings.Join(append(scenarioNames(), modesName), " "))
	f.StringVar(&servers, "servers", "", "servers, comma-separated: "+strings.Join(serverNames(), " "))
	f.StringVar(&o.sluice, "sluice", "", "sluice binary, whose allocations are not counted; without it ./cmd/sluice is built")
	f.StringVar(&o.markdown, "markdown", "", "write the report as Markdown to this file")
	f.BoolVar(&o.faults, "faults", false, "what sluice's clients see of faults of its children, in place of the comparison")
	f.IntVar(&o.kills, "kills", 10000, "with -faults: children killed between two looks at what sluice holds")
	f.BoolVar(&o.reloads, "reloads", false, "what clients of sluice, nginx and lighttpd see of reloads, in place of the comparison")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.only, o.servers = splitList(only), splitList(servers)
	o.duration = max(o.duration.Round(time.Second), time.Second)
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if o.rounds < 1 {
		return o, fmt.Errorf("-rounds %d: at least one", o.rounds)
	}
	for _, n := range o.servers {
		if !slices.Contains(serverNames(), n) {
			return o, fmt.Errorf("-servers: no server %q (have %s)", n, strings.Join(serverNames(), " "))
		}
	}
	for _, n := range o.only {
		if n != modesName && !slices.ContainsFunc(scenarios, func(s scenario) bool { return s.named(n) }) {
			return o, fmt.Errorf("-only: no scenario %q (have %s)", n, strings.Join(append(scenarioNames(), modesName), " "))
		}
	}
	return o, nil
}

func splitList(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

// scenarios returns those that -only selects.
func (o options) scenarios() []scenario {
	var list []scenario
	for _, s := range scenarios {
		if len(o.only) == 0 || slices.ContainsFunc(o.only, s.named) {
			list = append(list, s)
		}
	}
	return list
}

// wantsModes says whether accept and linger modes are measured.
func (o options) wantsModes() bool {
	return o.wants("sluice") && (len(o.only) == 0 || slices.Contains(o.only, modesName))
}

// wants says whether -servers selects the server.
func (o options) wants(name string) bool {
	return len(o.servers) == 0 || slices.Contains(o.servers, name)
}

// run does every scenario and returns what went wrong with single servers.
func run(ctx context.Context, o options) (faults []string, err error) {
	if o.faults {
		return runFaults(ctx, o)
	}
	if o.reloads {
		return runReloads(ctx, o)
	}
	ctx, cancel := context.WithTimeout(ctx, o.longest())
	defer cancel()
	b, err := newBench(ctx, o)
	if err != nil {
		return nil, err
	}
	defer b.close()
	rep := &report{machine: b.machine(ctx), notes: notes(b)}
	rep.printHead(os.Stdout)
	for _, s := range o.scenarios() {
		if ctx.Err() == nil && b.able(s) {
			res := b.runScenario(ctx, s)
			rep.results = append(rep.results, res)
			res.print(os.Stdout)
		}
	}
	if o.wantsModes() && b.sluice != "" && ctx.Err() == nil {
		rep.modes = b.runModes(ctx)
		fmt.Println("\n" + rep.modes)
	}
	rep.left = b.faults
	rep.printSummary(os.Stdout)
	switch err := context.Cause(ctx); {
	case errors.Is(err, context.DeadlineExceeded):
		rep.left = append(rep.left, fmt.Sprintf("the run was ended after %v: what is missing was not measured", o.longest()))
	case err != nil:
		return rep.faults(), fmt.Errorf("no report is written: %w", err)
	}
	if o.markdown != "" {
		if err := os.WriteFile(o.markdown, []byte(rep.markdown()), 0o644); err != nil {
			return nil, err
		}
	}
	return rep.faults(), nil
}

// longest is the time after which the run is ended whatever it is doing.
func (o options) longest() time.Duration {
	visits := len(o.scenarios()) * len(servers) * o.rounds
	return 5*time.Minute + modesLimit + time.Duration(visits)*(2*o.duration+2*time.Second)
}
