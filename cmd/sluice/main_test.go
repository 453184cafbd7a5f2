package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"sluice/internal/master"
	"sluice/spawner"
)

var update = flag.Bool("update", false, "rewrite the golden parts of the scripts")

// TestMain makes this binary whatever the tests start: the program itself, its
// shim and its worker, and the scripted FastCGI child.
func TestMain(m *testing.M) {
	if os.Getenv("GORACE") == "" {
		os.Setenv("GORACE", "atexit_sleep_ms=10") // the detector's default is a second for each process
	}
	spawner.RunShim()
	master.RunWorker()
	testscript.Main(leakCheck{m}, map[string]func(){
		"sluice":     func() { os.Exit(master.Main(func() int { return run(os.Args) })) },
		"fcgi-child": scriptedChild,
	})
}

// builds is where releases of this program are built.
var builds = filepath.Join(os.TempDir(), fmt.Sprintf("sluice-builds-%d", os.Getpid()))

// leakCheck fails the run when a process that it started is left.
type leakCheck struct{ m *testing.M }

func (l leakCheck) Run() int {
	defer os.RemoveAll(builds)
	code := l.m.Run()
	if left := leftOver(); len(left) > 0 && code == 0 {
		fmt.Fprintf(os.Stderr, "processes are left over:\n%s\n", strings.Join(left, "\n"))
		return 1
	}
	return code
}

// leftOver are the processes, beside this one, that run this binary.
func leftOver() []string {
	var left []string
	self, err := os.Stat("/proc/self/exe")
	if err != nil {
		return nil
	}
	exes, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, exe := range exes {
		fi, err := os.Stat(exe)
		pid := filepath.Base(filepath.Dir(exe))
		if err == nil && os.SameFile(fi, self) && pid != fmt.Sprint(os.Getpid()) {
			cmd, _ := os.ReadFile("/proc/" + pid + "/cmdline")
			left = append(left, pid+" "+strings.ReplaceAll(string(cmd), "\x00", " "))
		}
	}
	return left
}

// apps is where the applications that are fixtures lie.
func apps() string {
	dir, err := filepath.Abs("../../testdata/apps")
	if err != nil {
		panic(err)
	}
	return dir
}

// scriptCondition are the conditions that the scripts have beside those of
// testscript: [root].
func scriptCondition(name string) (bool, error) {
	if name != "root" {
		return false, fmt.Errorf("unknown condition %q", name)
	}
	return os.Geteuid() == 0, nil
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "../../testdata/script",
		Setup:               setUpScript,
		Cmds:                scriptCommands,
		Condition:           scriptCondition,
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}
