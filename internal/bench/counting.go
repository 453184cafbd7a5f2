package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"text/template"
	"time"
)

// A running server does not tell what it allocates, and gets no way to for the
// sake of a benchmark. So the same code is built once more with one file laid
// over it (go build -overlay), which writes the runtime's counts on a signal.

//go:embed counting.go.txt
var countingSource string

// countingSignal is one of the real-time signals, which nobody else uses.
const countingSignal = syscall.Signal(50)

// countingDir has a file for each process that was asked.
func countingDir(dir string) string { return filepath.Join(dir, "counts") }

// buildCounting makes the sluice that tells its allocations.
func buildCounting(ctx context.Context, dir string) (string, error) {
	counts := countingDir(dir)
	var source bytes.Buffer
	quote := func(parts ...string) string { return strconv.Quote(strings.Join(parts, "")) }
	t, err := template.New("counting").Funcs(template.FuncMap{"quote": quote}).Parse(countingSource)
	if err == nil {
		err = t.Execute(&source, map[string]any{"Dir": counts, "Signal": int(countingSignal)})
	}
	// Workers may have dropped to another account.
	if err = errors.Join(err, os.Mkdir(counts, 0o777), os.Chmod(counts, 0o777)); err != nil {
		return "", err
	}
	where, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", sluicePackage).Output()
	if err != nil {
		return "", fmt.Errorf("go list %s: %w", sluicePackage, err)
	}
	laid := filepath.Join(dir, "counting.go")
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(strings.TrimSpace(string(where)), "benchmark_counting.go"): laid}})
	if err != nil {
		return "", err
	}
	if err := errors.Join(os.WriteFile(laid, source.Bytes(), 0o644),
		os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o644)); err != nil {
		return "", err
	}
	return goBuild(ctx, filepath.Join(dir, "sluice-counting"), "-overlay", filepath.Join(dir, "overlay.json"))
}

// allocated is what processes have allocated since they began.
type allocated struct{ objects, bytes uint64 }

func (a allocated) since(b allocated) allocated {
	return allocated{a.objects - b.objects, a.bytes - b.bytes}
}

// askAllocated asks each front-end process but the master, for the n-th time.
func (in *instance) askAllocated(ctx context.Context, b *bench, n int) (sum allocated, err error) {
	for _, m := range in.frontEnd() {
		if m.pid == in.front[0].pid() {
			continue
		}
		if err := syscall.Kill(m.pid, countingSignal); err != nil {
			return sum, err
		}
		a, err := awaitAllocated(ctx, filepath.Join(countingDir(b.dir), strconv.Itoa(m.pid)), n)
		if err != nil {
			return sum, err
		}
		sum.objects, sum.bytes = sum.objects+a.objects, sum.bytes+a.bytes
	}
	return sum, nil
}

func awaitAllocated(ctx context.Context, path string, n int) (a allocated, err error) {
	for range 500 {
		var at int
		text, _ := os.ReadFile(path)
		if _, err := fmt.Sscan(string(text), &at, &a.objects, &a.bytes); err == nil && at == n {
			return a, nil
		}
		pause(ctx, 10*time.Millisecond)
	}
	return a, fmt.Errorf("no count of allocations at %s", filepath.Base(path))
}
