package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"sluice/internal/master"
)

func reloadCommand() *cli.Command {
	return &cli.Command{
		Name:  "reload",
		Usage: "load the configuration again and put it into effect; no request is lost, and a bad file changes nothing",
		Flags: []cli.Flag{configFlag, controlFlag},
		Action: func(c *cli.Context) error {
			path, err := controlPath(c)
			if err != nil {
				return err
			}
			r, err := master.Ask(path, master.Command{Name: "reload"})
			if err != nil {
				return fmt.Errorf("reload: %w", err)
			}
			fmt.Fprintln(c.App.Writer, r.Text)
			return nil
		},
	}
}
