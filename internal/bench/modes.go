package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// modesName selects the accept and linger modes, which sluice measures itself.
const modesName = "modes"

// modesLimit is how long that may take.
const modesLimit = 10 * time.Minute

// runModes returns what `sluice tune` says, or why it says nothing.
func (b *bench) runModes(ctx context.Context) string {
	defer b.procs.stopAll()
	out, err := os.Create(filepath.Join(b.dir, "tune.txt"))
	if err != nil {
		return b.modesFault(err)
	}
	defer out.Close()
	p, err := b.procs.start(launch{name: "tune", dir: b.dir, stdout: out,
		argv: []string{b.sluice, "tune", "--duration", "1s"}})
	if err != nil {
		return b.modesFault(err)
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		return "not measured: the run ended"
	case <-time.After(modesLimit):
		return b.modesFault(fmt.Errorf("still running after %v", modesLimit))
	}
	if !p.cmd.ProcessState.Success() {
		if strings.Contains(p.tail(), "there is no command") {
			return "not supported yet"
		}
		return b.modesFault(fmt.Errorf("%v: %s", p.cmd.ProcessState, p.tail()))
	}
	text, err := os.ReadFile(out.Name())
	if err != nil {
		return b.modesFault(err)
	}
	return strings.TrimSpace(string(text))
}

func (b *bench) modesFault(err error) string {
	b.faults = append(b.faults, fmt.Sprintf("%s: sluice tune: %v", modesName, err))
	return "not measured: " + err.Error()
}
