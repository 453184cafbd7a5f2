package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"sluice/internal/config"
	"sluice/internal/master"
)

var controlFlag = &cli.StringFlag{Name: "control", Usage: "control `SOCKET` of the server, instead of -c FILE"}

// controlPath is controlSocket for a command without arguments.
func controlPath(c *cli.Context) (string, error) {
	if c.Args().Present() {
		return "", usageError("%s takes no argument", c.Command.Name)
	}
	return controlSocket(c)
}

// controlSocket is where the server of a command listens for commands.
func controlSocket(c *cli.Context) (string, error) {
	file, socket := c.String("config"), c.String("control")
	switch {
	case socket != "" && file != "", socket == "" && file == "":
		return "", usageError("%s needs either -c FILE or --control SOCKET", c.Command.Name)
	case socket != "":
		return socket, nil
	}
	cfg, err := config.Load(file)
	if err != nil {
		return "", configError(err)
	}
	return cfg.Control, nil
}

func stopCommand() *cli.Command {
	return &cli.Command{
		Name:  "stop",
		Usage: "stop a server within stop_timeout, and wait until it has ended",
		Flags: []cli.Flag{configFlag, controlFlag, &cli.BoolFlag{Name: "now", Usage: "cut off what is in progress"}},
		Action: func(c *cli.Context) error {
			path, err := controlPath(c)
			if err != nil {
				return err
			}
			if err := master.Send(path, master.Command{Name: "stop", Now: c.Bool("now")}); err != nil {
				return fmt.Errorf("stop: %w", err)
			}
			return nil
		},
	}
}
