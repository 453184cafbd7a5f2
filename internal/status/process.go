package status

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Resident is how much memory a process has resident, in bytes; 0 if that cannot
// be read.
func Resident(pid int) int64 {
	f := bytes.Fields(proc(pid, "statm"))
	if len(f) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(string(f[1]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

// Where is where a process is in the kernel. What cannot be read is "": only
// State can be by everybody.
type Where struct {
	Parent  int
	State   string // in a word
	Wchan   string // the function that it sleeps in
	Syscall string // its number
	Stack   string // functions, the innermost first
}

// Locate finds out where a process is.
func Locate(pid int) (Where, error) {
	stat := proc(pid, "stat")
	// The name, in parentheses, may hold anything.
	_, rest, ok := bytes.Cut(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" "))
	f := strings.Fields(string(rest))
	if !ok || len(f) < 2 {
		return Where{}, fmt.Errorf("no process %d", pid)
	}
	w := Where{State: f[0]}
	w.Parent, _ = strconv.Atoi(f[1])
	if word, ok := processStates[f[0]]; ok {
		w.State = word
	}
	if s := strings.TrimSpace(string(proc(pid, "wchan"))); s != "0" {
		w.Wchan = s
	}
	// "running", or the number and its arguments, which are nobody's business.
	w.Syscall, _, _ = strings.Cut(strings.TrimSpace(string(proc(pid, "syscall"))), " ")
	w.Stack = functions(string(proc(pid, "stack")))
	return w, nil
}

// processStates are those of proc(5).
var processStates = map[string]string{
	"R": "running", "S": "sleeping", "D": "in the kernel, not to be interrupted", "T": "stopped", "t": "traced",
	"Z": "dead", "X": "dead", "I": "idle",
}

// stackDepth bounds how many functions of a stack are said.
const stackDepth = 8

// functions takes the names out of lines such as
// "[<0>] hrtimer_nanosleep+0x74/0xf0".
func functions(stack string) string {
	var names []string
	for line := range strings.Lines(stack) {
		_, name, ok := strings.Cut(strings.TrimSpace(line), "] ")
		if !ok || len(names) == stackDepth {
			continue
		}
		name, _, _ = strings.Cut(name, "+")
		names = append(names, name)
	}
	return strings.Join(names, " < ")
}

func proc(pid int, name string) []byte {
	if pid <= 0 {
		return nil
	}
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	return b
}
