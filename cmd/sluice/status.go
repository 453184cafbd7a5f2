package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"sluice/internal/config"
	"sluice/internal/master"
	"sluice/internal/scoreboard"
	"sluice/internal/status"
)

func statusCommand() *cli.Command {
	return &cli.Command{
		Name:  "status",
		Usage: "show the workers, apps and children of a server, and what they do",
		Flags: []cli.Flag{configFlag, controlFlag, &cli.BoolFlag{Name: "json", Usage: "for programs; docs/status.md describes it"}},
		Action: func(c *cli.Context) error {
			path, err := controlPath(c)
			if err != nil {
				return err
			}
			r, err := master.Ask(path, master.Command{Name: "status"})
			if err == nil && r.Status == nil {
				err = errors.New("the server gave no status")
			}
			if err == nil {
				return printStatus(c, r.Status)
			}
			var none *master.NoServerError
			if errors.As(err, &none) {
				return lastState(c, err)
			}
			return fmt.Errorf("status: %w", err)
		},
	}
}

func printStatus(c *cli.Context, s *status.Status) error {
	if c.Bool("json") {
		return printJSON(c.App.Writer, s)
	}
	return s.Print(c.App.Writer)
}

func printJSON(out io.Writer, s *status.Status) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(s)
}

// lastState shows the state in which a server ended whose scoreboard is a file.
// It returns the error to end with: none is the reason that there is no server.
func lastState(c *cli.Context, none error) error {
	none = fmt.Errorf("status: %w", none)
	file := c.String("config")
	if file == "" {
		return none
	}
	cfg, err := config.Load(file)
	if err != nil || cfg.Status.Scoreboard == "memory" {
		return none
	}
	mem, err := os.ReadFile(cfg.Status.Scoreboard)
	if err != nil {
		return fmt.Errorf("%w, and no last state: %w", none, err)
	}
	b, err := scoreboard.Open(mem)
	if err != nil {
		return fmt.Errorf("%w, and no last state in %s: %w", none, cfg.Status.Scoreboard, err)
	}
	s, err := b.Snapshot()
	if err != nil {
		return err
	}
	what := "it was killed, and seen last at " + s.Seen.Format(time.DateTime)
	if !s.Ended.IsZero() {
		what = "it was stopped at " + s.Ended.Format(time.DateTime)
	}
	err = fmt.Errorf("not running, last state: %s", what)
	fmt.Fprintln(os.Stderr, "sluice:", err)
	if err := printStatus(c, status.Last(s)); err != nil {
		return err
	}
	return &quietError{err}
}
