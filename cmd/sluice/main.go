// Command sluice is a web front end that spawns and supervises CGI and FastCGI
// programs and sends the files that they name.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/urfave/cli/v2"

	"sluice/internal/master"
	"sluice/spawner"
)

// version is set by the linker for a release.
var version = "0.1.0"

func main() {
	// This program is also what it starts: children begin as a shim, the
	// worker is itself again. Both come before anything else.
	spawner.RunShim()
	master.RunWorker()
	os.Exit(master.Main(func() int { return run(os.Args) }))
}

func run(args []string) int {
	app := &cli.App{
		Name:                   "sluice",
		Usage:                  "a web front end for CGI and FastCGI programs; a child is busy only while it computes",
		HideVersion:            true,
		HideHelpCommand:        true,
		UseShortOptionHandling: true,
		Commands:               []*cli.Command{serveCommand(), demoCommand(), checkCommand(), explainCommand(), signCommand(), statusCommand(), restartCommand(), reloadCommand(), upgradeCommand(), stopCommand(), spawnCommand(), tuneCommand(), versionCommand(), demoAppCommand(), tuneLoadCommand()},
		OnUsageError:           usage,
		ExitErrHandler:         func(*cli.Context, error) {},
		CommandNotFound:        func(*cli.Context, string) {},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usageError("there is no command %q; see sluice --help", c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
	}
	for _, c := range app.Commands {
		c.OnUsageError = usage
	}
	err := app.Run(flagsFirst(app, args))
	if err == nil {
		return master.ExitOK
	}
	var quiet *quietError
	if !errors.As(err, &quiet) {
		fmt.Fprintln(os.Stderr, "sluice:", err)
	}
	return master.ExitCode(err)
}

func usage(_ *cli.Context, err error, _ bool) error {
	return &master.ExitError{Code: master.ExitUsage, Err: err}
}

func usageError(format string, args ...any) error {
	return &master.ExitError{Code: master.ExitUsage, Err: fmt.Errorf(format, args...)}
}

// quietError has been told to the user already.
type quietError struct{ error }

func (e *quietError) Unwrap() error { return e.error }

// flagsFirst moves the flags of a command before its arguments, where the
// library wants them: people write them behind as well.
func flagsFirst(app *cli.App, args []string) []string {
	if len(args) < 2 {
		return args
	}
	cmd := app.Command(args[1])
	if cmd == nil {
		return args
	}
	takesValue := map[string]bool{}
	for _, f := range cmd.Flags {
		if d, ok := f.(cli.DocGenerationFlag); ok {
			for _, n := range f.Names() {
				takesValue[n] = d.TakesValue()
			}
		}
	}
	var flags, rest []string
	for i := 2; i < len(args); i++ {
		a := args[i]
		if a == "--" {
			rest = append(rest, args[i:]...)
			break
		}
		if len(a) < 2 || a[0] != '-' {
			rest = append(rest, a)
			continue
		}
		flags = append(flags, a)
		name := a[1:]
		if name[0] == '-' {
			name = name[1:]
		}
		if takesValue[name] && i+1 < len(args) {
			i++
			flags = append(flags, args[i])
		}
	}
	return append(append(append([]string{}, args[:2]...), flags...), rest...)
}

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "print the version, the commit and the version of Go",
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usageError("version takes no argument")
			}
			commit, goVersion := "unknown", "unknown"
			if info, ok := debug.ReadBuildInfo(); ok {
				goVersion = info.GoVersion
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						commit = s.Value
					}
				}
			}
			fmt.Fprintf(c.App.Writer, "sluice %s\ncommit %s\n%s\n", version, commit, goVersion)
			return nil
		},
	}
}
