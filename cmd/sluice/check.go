package main

import (
	"github.com/urfave/cli/v2"

	"sluice/internal/config"
)

func checkCommand() *cli.Command {
	return &cli.Command{
		Name:  "check",
		Usage: "say nothing, or every mistake of a configuration file as FILE:LINE:COLUMN: message",
		Flags: []cli.Flag{configFlag, &cli.BoolFlag{Name: "print", Usage: "print the configuration in effect, with all defaults"}},
		Action: func(c *cli.Context) error {
			if c.String("config") == "" || c.Args().Present() {
				return usageError("check needs -c FILE, and nothing else")
			}
			cfg, err := loadChecked(c.String("config"))
			if err != nil {
				return err
			}
			if c.Bool("print") {
				return cfg.Print(c.App.Writer)
			}
			return nil
		},
	}
}

// loadChecked loads a file and looks for what it names; the mistakes have been
// printed when it returns an error.
func loadChecked(file string) (*config.Config, error) {
	cfg, err := config.Load(file)
	if err == nil {
		err = cfg.CheckFiles()
	}
	if err != nil {
		return nil, configError(err)
	}
	return cfg, nil
}
