package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// clockTick is USER_HZ, the unit of times in /proc/PID/stat: 100 a second on
// every Linux port that Go has.
const clockTick = 10 * time.Millisecond

// member is one process of the process table.
type member struct {
	pid, parent int
	started     uint64        // ticks since boot: with the pid, an identity
	cpu         time.Duration // utime + stime, all threads, without reaped children
}

// table is the process table at one moment.
type table map[int]member

// parseStat reads one /proc/PID/stat (proc(5)). The name in parentheses may hold
// blanks and parentheses, so fields are counted from the last one.
func parseStat(text []byte) (member, error) {
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return member{}, errors.New("stat: no name")
	}
	f := strings.Fields(string(text[end+1:])) // f[0] is field 3, the state
	if len(f) < 20 {
		return member{}, fmt.Errorf("stat: %d fields", len(f)+2)
	}
	var n [5]uint64
	for i, field := range []int{4, 14, 15, 22} {
		v, err := strconv.ParseUint(f[field-3], 10, 64)
		if err != nil {
			return member{}, fmt.Errorf("stat field %d: %w", field, err)
		}
		n[i] = v
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text[:open])))
	if err != nil {
		return member{}, fmt.Errorf("stat pid: %w", err)
	}
	return member{pid: pid, parent: int(n[0]), cpu: time.Duration(n[1]+n[2]) * clockTick, started: n[3]}, nil
}

// readMember reads one process; an error when it is gone.
func readMember(pid int) (member, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return member{}, err
	}
	return parseStat(text)
}

// alive says whether the same process still exists.
func (m member) alive() bool {
	now, err := readMember(m.pid)
	return err == nil && now.started == m.started
}

func readTable() table {
	t := table{}
	paths, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, p := range paths {
		text, err := os.ReadFile(p)
		if err != nil {
			continue
		}
		if m, err := parseStat(text); err == nil {
			t[m.pid] = m
		}
	}
	return t
}

// descendants returns the process and all below it.
func (t table) descendants(root int) []member {
	first, ok := t[root]
	if !ok {
		return nil
	}
	list := []member{first}
	for i := 0; i < len(list); i++ {
		for _, m := range t {
			if m.parent == list[i].pid {
				list = append(list, m)
			}
		}
	}
	return list
}

// frontEnd returns the processes that run the same executable as the started
// ones: master and workers, not the applications below them.
func (in *instance) frontEnd() []member {
	var list []member
	t := readTable()
	for _, p := range in.front {
		exe := executable(p.pid())
		for _, m := range t.descendants(p.pid()) {
			if exe != "" && executable(m.pid) == exe {
				list = append(list, m)
			}
		}
	}
	return list
}

func executable(pid int) string {
	path, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return path
}

// cpuSince is what the processes have used since they were read.
func cpuSince(before []member) (time.Duration, error) {
	var sum time.Duration
	for _, m := range before {
		now, err := readMember(m.pid)
		if err != nil || now.started != m.started {
			return 0, fmt.Errorf("front-end process %d ended under load", m.pid)
		}
		sum += now.cpu - m.cpu
	}
	return sum, nil
}

// memory sums proportional and peak resident sizes, in bytes. The peak counts
// shared pages once for every process.
func memory(list []member) (pss, peak int64) {
	for _, m := range list {
		pss += procField(fmt.Sprintf("/proc/%d/smaps_rollup", m.pid), "Pss:")
		peak += procField(fmt.Sprintf("/proc/%d/status", m.pid), "VmHWM:")
	}
	return pss, peak
}

// procField reads a "Name:   123 kB" line, in bytes; 0 if there is none.
func procField(path, name string) int64 {
	text, _ := os.ReadFile(path)
	return parseField(string(text), name)
}

func parseField(text, name string) int64 {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == name {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n * 1024
		}
	}
	return 0
}
