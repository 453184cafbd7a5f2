package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"sluice/internal/master"
)

func upgradeCommand() *cli.Command {
	return &cli.Command{
		Name:  "upgrade",
		Usage: "execute the binary that has been put in the place of the running one; no request is lost, and a bad one changes nothing",
		Flags: []cli.Flag{configFlag, controlFlag},
		Action: func(c *cli.Context) error {
			path, err := controlPath(c)
			if err != nil {
				return err
			}
			r, err := master.Ask(path, master.Command{Name: "upgrade"})
			if err != nil {
				return fmt.Errorf("upgrade: %w", err)
			}
			fmt.Fprintln(c.App.Writer, r.Text)
			return nil
		},
	}
}
