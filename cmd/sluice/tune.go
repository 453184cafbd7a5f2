package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"sluice/internal/master"
	"sluice/internal/tune"
)

func tuneCommand() *cli.Command {
	return &cli.Command{
		Name:  "tune",
		Usage: "measure every accept mode and every mode of lingering close on this machine, and recommend one of each",
		Flags: []cli.Flag{
			&cli.DurationFlag{Name: "duration", Value: 2 * time.Second, Usage: "time for each setting and load"},
			&cli.StringFlag{Name: "out", Usage: "write a page with plots to `FILE` as well"},
		},
		Action: func(c *cli.Context) error {
			d := c.Duration("duration")
			switch {
			case c.Args().Present():
				return usageError("tune takes no argument")
			case d < tune.MinDuration || d > tune.MaxDuration:
				return usageError("--duration: want %v to %v, got %v", tune.MinDuration, tune.MaxDuration, d)
			}
			return runTune(c, d, c.String("out"))
		},
	}
}

func runTune(c *cli.Context, d time.Duration, out string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var page *os.File
	if out != "" {
		// Before the work, lest it be in vain.
		if page, err = os.CreateTemp(filepath.Dir(out), ".sluice-tune-"); err != nil {
			return err
		}
		defer os.Remove(page.Name())
		defer page.Close()
	}
	rep, err := tune.Run(ctx, tune.Options{Executable: self, Version: version, Duration: d, OnMain: master.OnMain, Progress: os.Stderr})
	if errors.Is(err, context.Canceled) {
		return errors.New("tune: interrupted")
	}
	if err != nil {
		return err
	}
	if err := rep.Print(c.App.Writer); err != nil || page == nil {
		return err
	}
	var b bytes.Buffer
	if err := rep.Page(&b); err != nil {
		return err
	}
	_, err = page.Write(b.Bytes())
	return errors.Join(err, page.Chmod(0o644), os.Rename(page.Name(), out))
}

// tuneLoadCommand is the load generator of tune, in a process of its own.
func tuneLoadCommand() *cli.Command {
	return &cli.Command{
		Name:   tune.LoadCommand,
		Hidden: true,
		Action: func(c *cli.Context) error { return tune.Generate(os.Stdin, os.Stdout) },
	}
}
