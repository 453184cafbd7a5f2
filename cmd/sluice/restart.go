package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"sluice/internal/master"
)

func restartCommand() *cli.Command {
	return &cli.Command{
		Name:      "restart",
		Usage:     "replace the children of an app, one after the other; no request is lost",
		ArgsUsage: "APP",
		Flags:     []cli.Flag{configFlag, controlFlag},
		Action: func(c *cli.Context) error {
			if c.Args().Len() != 1 {
				return usageError("restart needs the name of one app")
			}
			app := c.Args().First()
			path, err := controlSocket(c)
			if err != nil {
				return err
			}
			r, err := master.Ask(path, master.Command{Name: "restart", App: app})
			if r != nil && r.Restarted > 0 || err == nil {
				fmt.Fprintf(c.App.Writer, "%s: %d children restarted\n", app, r.Restarted)
			}
			if err != nil {
				return fmt.Errorf("restart: %w", err)
			}
			return nil
		},
	}
}
