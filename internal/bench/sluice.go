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

// buildSluice makes the binary to measure, as it is shipped: without C code.
func buildSluice(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "sluice")
	build := exec.CommandContext(ctx, "go", "build", "-o", path, "sluice/cmd/sluice")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build sluice/cmd/sluice: %w: %s", err, firstLine(string(out)))
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
	if err := in.run(b, b.sluice, "serve", "-c", conf); err != nil {
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
