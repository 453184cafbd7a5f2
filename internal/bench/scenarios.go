package main

import "strings"

// kind is what answers in a scenario.
type kind int

const (
	kindFastCGI kind = iota // the bench child's own answer
	kindPHP
	kindCGI
	kindFile
	kindSend // a file that the bench child names in a header
)

// scenario is one load on every server that can do it.
type scenario struct {
	name     string
	title    string
	kind     kind
	clients  int
	path     string // asked for
	file     string // kindSend: the file in the send root that the child names
	download bool   // measured in bytes, by this program's own client
	procs    int    // long-lived children, for every server; 0: 4
}

// scenarios are in the order in which they run.
var scenarios = []scenario{
	{name: "fastcgi-4", title: "small FastCGI answer, 4 clients, 4 children", kind: kindFastCGI, clients: 4, path: "/app"},
	{name: "fastcgi-64", title: "small FastCGI answer, 64 clients, 4 children", kind: kindFastCGI, clients: 64, path: "/app"},
	{name: "php-4", title: "small PHP page, 4 clients, 4 children", kind: kindPHP, clients: 4, path: "/hello.php"},
	{name: "php-64-1", title: "small PHP page, 64 clients, 1 child", kind: kindPHP, clients: 64, path: "/hello.php", procs: 1},
	{name: "php-64", title: "small PHP page, 64 clients, 4 children", kind: kindPHP, clients: 64, path: "/hello.php"},
	{name: "php-64-16", title: "small PHP page, 64 clients, 16 children", kind: kindPHP, clients: 64, path: "/hello.php", procs: 16},
	{name: "cgi", title: "small CGI answer, 4 clients", kind: kindCGI, clients: 4, path: "/answer.cgi"},
	{name: "file", title: "static file of 4.5 KB, 64 clients", kind: kindFile, clients: 64, path: "/" + smallFile},
	{name: "xsendfile-small", title: "file of 4.5 KB by X-Sendfile, 64 clients, 4 children", kind: kindSend, clients: 64, path: "/app", file: smallFile},
	{name: "xsendfile-200m-1", title: "file of 200 MB by X-Sendfile, 1 client", kind: kindSend, clients: 1, path: "/app", file: bigFile, download: true},
	{name: "xsendfile-200m-4", title: "file of 200 MB by X-Sendfile, 4 clients", kind: kindSend, clients: 4, path: "/app", file: bigFile, download: true},
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
	case s.file == smallFile, s.kind == kindFile:
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

// smallAnswer is the body of the small answers; cgi/answer.c has it too.
const smallAnswer = "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnop\r\n"

const (
	smallFile = "page.txt"
	smallSize = 4608
	bigFile   = "big.bin"
	bigSize   = 200_000_000
)
