package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"sluice/internal/config"
	"sluice/internal/master"
)

// tuningFlags beat the file; each is also read from SLUICE_NAME.
func tuningFlags() []cli.Flag {
	env := func(name string) []string {
		return []string{"SLUICE_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))}
	}
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "listen", Usage: "address to listen on: `ADDRESS` as in the file; may be repeated", EnvVars: env("listen")},
		&cli.IntFlag{Name: "workers", Usage: "number of workers", EnvVars: env("workers")},
		&cli.StringFlag{Name: "accept", Usage: "accept mode", EnvVars: env("accept")},
		&cli.IntFlag{Name: "accept-permits", Usage: "workers that may accept at once, for the accept mode partial", EnvVars: env("accept-permits")},
		&cli.StringFlag{Name: "linger", Usage: "lingering close mode", EnvVars: env("linger")},
		&cli.DurationFlag{Name: "linger-idle", Usage: "longest wait for more input of a lingering connection", EnvVars: env("linger-idle")},
		&cli.DurationFlag{Name: "linger-total", Usage: "longest lingering", EnvVars: env("linger-total")},
		&cli.DurationFlag{Name: "keepalive-idle", Usage: "longest wait for the next request of a connection", EnvVars: env("keepalive-idle")},
		&cli.StringFlag{Name: "log-level", Usage: "debug, info, warn or error", EnvVars: env("log-level")},
	}
}

func overrides(c *cli.Context) config.Overrides {
	o := config.Overrides{Listen: c.StringSlice("listen")}
	set(c, "workers", &o.Workers, c.Int)
	set(c, "accept", &o.Accept, c.String)
	set(c, "accept-permits", &o.AcceptPermits, c.Int)
	set(c, "linger", &o.Linger, c.String)
	set(c, "linger-idle", &o.LingerIdle, c.Duration)
	set(c, "linger-total", &o.LingerTotal, c.Duration)
	set(c, "keepalive-idle", &o.KeepaliveIdle, c.Duration)
	set(c, "log-level", &o.LogLevel, c.String)
	return o
}

func set[T any](c *cli.Context, name string, to **T, get func(string) T) {
	if c.IsSet(name) {
		v := get(name)
		*to = &v
	}
}

var configFlag = &cli.StringFlag{Name: "config", Aliases: []string{"c"}, Usage: "configuration `FILE`"}

func serveCommand() *cli.Command {
	return &cli.Command{
		Name:      "serve",
		Usage:     "serve what a configuration file says, or a directory",
		ArgsUsage: "-c FILE | DIR",
		Flags:     append([]cli.Flag{configFlag}, tuningFlags()...),
		Action: func(c *cli.Context) error {
			file, dir := c.String("config"), c.Args().First()
			switch {
			case c.Args().Len() > 1:
				return usageError("serve takes one directory, not %q", c.Args().Slice())
			case (file == "") == (dir == ""):
				return usageError("serve needs either -c FILE or a directory")
			case dir != "":
				return serveDirectory(c, dir)
			}
			// The folder of the command line is left by nobody, so the path stays good.
			return serve(func() (*config.Config, error) {
				cfg, err := config.Load(file)
				if err != nil {
					return nil, err
				}
				return cfg.With(overrides(c))
			}, true, nil)
		},
	}
}

// configError prints every mistake on a line of its own.
func configError(err error) error {
	fmt.Fprintln(os.Stderr, err)
	code := master.ExitConfig
	var all config.Errors
	if errors.As(err, &all) && all.OnlyExec() {
		code = master.ExitExec
	}
	return &quietError{&master.ExitError{Code: code, Err: err}}
}

// serve runs a server in the foreground. load says what its configuration is, now
// and for each reload; ready is told where it listens before it says that it is
// ready. anew: this command line comes to the same server whenever it is executed.
func serve(load func() (*config.Config, error), anew bool, ready func(*config.Config, []net.Addr)) error {
	checked := func() (*config.Config, error) {
		cfg, err := load()
		if err != nil {
			return nil, err
		}
		return cfg, cfg.CheckFiles()
	}
	var cfg *config.Config
	if !master.Executed() { // else it has one, and loads it again when it has taken over
		var err error
		if cfg, err = checked(); err != nil {
			return configError(err)
		}
	}
	return master.Run(master.Options{Version: version, Config: cfg, Load: checked, Anew: anew, Ready: func(addrs []net.Addr) {
		if ready != nil {
			ready(cfg, addrs)
		}
		fmt.Fprintln(os.Stderr, "sluice: ready")
	}})
}

// serveDirectory serves a directory without a file: its static files, its
// executable *.cgi and *.pl, and *.php if there is a php-cgi.
func serveDirectory(c *cli.Context, dir string) error {
	root, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if fi, err := os.Stat(root); err != nil || !fi.IsDir() {
		return &master.ExitError{Code: master.ExitConfig, Err: fmt.Errorf("%s is not a directory", dir)}
	}
	listen := c.StringSlice("listen")
	if len(listen) == 0 {
		listen = []string{"127.0.0.1:8080"}
	}
	return serve(func() (*config.Config, error) {
		text := generated{Listen: listen, Key: root, Root: root, SendRoots: []string{root}, Index: []string{"index.html"}}
		if hasPHP() {
			text.PHP = true
			text.Index = append(text.Index, "index.php")
		}
		text.Index = append(text.Index, "index.cgi", "index.pl")
		cfg, err := text.parse("serve " + dir)
		if err != nil {
			return nil, err
		}
		return cfg.With(overrides(c))
	}, true, func(cfg *config.Config, addrs []net.Addr) {
		for _, a := range addrs {
			fmt.Println(urlOf(a, "/"))
		}
		fmt.Println("control", cfg.Control)
	})
}

// urlOf is the URL of a path on a listener.
func urlOf(a net.Addr, path string) string {
	if t, ok := a.(*net.TCPAddr); ok {
		host := t.IP.String()
		if t.IP.IsUnspecified() {
			host = "127.0.0.1"
		}
		return fmt.Sprintf("http://%s%s", net.JoinHostPort(host, fmt.Sprint(t.Port)), path)
	}
	return "unix:" + a.String() + path
}
