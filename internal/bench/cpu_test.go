package main

import (
	"os"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	const rest = " S 12 34 34 0 -1 4194560 100 0 0 0 250 50 9999 8888 20 0 1 0 4242 1000000 300 18446744073709551615"
	for _, c := range []struct {
		name, text string
		want       member
		ok         bool
	}{
		{"plain", "77 (nginx)" + rest, member{pid: 77, parent: 12, started: 4242, cpu: 3 * time.Second}, true},
		{"name with parentheses", "77 (a) S 1 (b)" + rest, member{pid: 77, parent: 12, started: 4242, cpu: 3 * time.Second}, true},
		{"no name", "77 nginx S 1", member{}, false},
		{"short", "77 (nginx) S 1 2 3", member{}, false},
		{"not a number", "77 (nginx) S x" + rest, member{}, false},
		{"empty", "", member{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseStat([]byte(c.text))
			if (err == nil) != c.ok || got != c.want {
				t.Errorf("got %+v, %v; want %+v", got, err, c.want)
			}
		})
	}
}

func TestDescendants(t *testing.T) {
	table := table{1: {pid: 1}, 5: {pid: 5, parent: 1}, 6: {pid: 6, parent: 5}, 7: {pid: 7, parent: 6}, 8: {pid: 8, parent: 1}}
	pids := map[int]bool{}
	for _, m := range table.descendants(5) {
		pids[m.pid] = true
	}
	if len(pids) != 3 || !pids[5] || !pids[6] || !pids[7] {
		t.Errorf("descendants of 5: %v", pids)
	}
	if list := table.descendants(99); list != nil {
		t.Errorf("descendants of nobody: %v", list)
	}
}

func TestOwnProcess(t *testing.T) {
	me, err := readMember(os.Getpid())
	if err != nil || me.parent != os.Getppid() || !me.alive() {
		t.Errorf("own entry %+v, %v", me, err)
	}
	if me.started++; me.alive() {
		t.Error("another process with the same id counts as alive")
	}
	if pss, peak := memory([]member{me}); pss == 0 || peak < pss {
		t.Errorf("memory %d, %d", pss, peak)
	}
	if _, err := cpuSince([]member{me}); err == nil {
		t.Error("no error for a process that ended")
	}
}

func TestParseField(t *testing.T) {
	const text = "Name:\tnginx\nVmHWM:\t    2048 kB\nPss:     12 kB\nPss_Dirty: 99 kB\n"
	for name, want := range map[string]int64{"VmHWM:": 2048 * 1024, "Pss:": 12 * 1024, "Rss:": 0} {
		if got := parseField(text, name); got != want {
			t.Errorf("%s %d, want %d", name, got, want)
		}
	}
}
