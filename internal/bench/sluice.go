package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// sluiceReady is what sluice prints once it serves.
const sluiceReady = "sluice: ready"

// sluiceMany is sluice with the children of plain nginx, which hold many
// connections; those of plain "sluice" take one at a time, as PHP does.
const sluiceMany = "sluice-many"

// sluicePackage is the program to measure.
const sluicePackage = "sluice/cmd/sluice"

// buildSluice makes the binary to measure.
func buildSluice(ctx context.Context, dir string) (string, error) {
	return goBuild(ctx, filepath.Join(dir, "sluice"))
}

func goBuild(ctx context.Context, path string, more ...string) (string, error) {
	args := append([]string{"build", "-o", path}, more...)
	cmd := exec.CommandContext(ctx, "go", append(args, sluicePackage)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is released
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w: %s", sluicePackage, err, firstLine(string(out)))
	}
	return path, nil
}

// startSluice starts sluice, which spawns its own children, and waits until it
// says that they are ready.
func startSluice(ctx context.Context, b *bench, in *instance) error {
	st := in.site(b)
	if err := st.spawn(b, in); err != nil {
		return err
	}
	conf, err := in.write("sluice.toml", st)
	if err != nil {
		return err
	}
	program := b.sluice
	if in.scenario.trial == callsTrial && b.counting != "" {
		program = b.counting
	}
	if err := in.run(b, program, "serve", "-c", conf); err != nil {
		return err
	}
	return awaitReady(ctx, in)
}

// awaitReady waits until sluice says that its children are ready.
func awaitReady(ctx context.Context, in *instance) error {
	for range 150 {
		text, _ := os.ReadFile(in.front[0].log)
		if strings.Contains(string(text), sluiceReady) {
			return nil
		}
		if !in.front[0].sleep(ctx, 100*time.Millisecond) {
			break
		}
	}
	return fmt.Errorf("sluice did not print %q: %s", sluiceReady, in.front[0].tail())
}
