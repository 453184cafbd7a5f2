package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"sluice/cgi"
	"sluice/internal/assemble"
	"sluice/internal/config"
	"sluice/internal/front"
	"sluice/internal/master"
	"sluice/internal/securelink"
)

func signCommand() *cli.Command {
	return &cli.Command{
		Name:      "sign",
		Usage:     "print a link that a route with secure_link takes until it expires",
		ArgsUsage: "URL",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "expires", Usage: "`WHEN` it ends: in 30m or 24h; or a Unix time, 2026-12-31 (UTC) or 2026-12-31T18:00:00+01:00"},
			&cli.StringFlag{Name: "client", Usage: "`ADDRESS` of the one client that it is for"},
			configFlag,
			&cli.StringFlag{Name: "secret-file", Usage: "`FILE` with the secret, instead of the one that the configuration names for the URL"},
		},
		Action: func(c *cli.Context) error {
			text, err := sign(c)
			if err == nil {
				fmt.Fprintln(c.App.Writer, text)
			}
			return err
		},
	}
}

// sign is the URL of the command line, signed.
func sign(c *cli.Context) (string, error) {
	if c.Args().Len() != 1 || (c.String("config") == "") == (c.String("secret-file") == "") {
		return "", usageError("sign needs one URL, and either -c FILE or --secret-file FILE")
	}
	u, err := linkURL(c.Args().First())
	if err != nil {
		return "", usageError("%v", err)
	}
	l := securelink.Link{}
	if l.Expires, err = expiry(c.String("expires"), time.Now()); err != nil {
		return "", usageError("--expires: %v", err)
	}
	if text := c.String("client"); text != "" {
		if l.Client, err = netip.ParseAddr(text); err != nil || l.Client.Zone() != "" {
			return "", usageError("--client: want an IP address, got %q", text)
		}
	}
	var key securelink.Key
	if file := c.String("config"); file != "" {
		key, err = signedBy(file, u, &l)
	} else {
		key, err = signedWith(c.String("secret-file"), u, &l)
	}
	if err != nil {
		return "", err
	}
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += key.Query(l)
	return u.String(), nil
}

// linkURL reads the URL of a link, or its path alone.
func linkURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, err
	case !strings.HasPrefix(u.Path, "/"), u.Scheme == "" && u.Host != "",
		u.Scheme != "" && (u.Host == "" || u.Scheme != "http" && u.Scheme != "https"):
		return nil, fmt.Errorf("want an http URL with a path, or a path, got %q", text)
	case securelink.Signed(u.RawQuery):
		return nil, fmt.Errorf("%q has expires or sig already, which may stand in a link once", text)
	}
	return u, nil
}

// expiry reads when a link ends: a duration from now on, or a date.
func expiry(text string, now time.Time) (int64, error) {
	const want = "want a duration such as 1h, a Unix time, or a date such as 2026-12-31 or 2026-12-31T18:00:00Z"
	if text == "" {
		return 0, errors.New(want)
	}
	var at time.Time
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		at = time.Unix(n, 0)
	} else if d, err := time.ParseDuration(text); err == nil {
		at = now.Add(d + time.Second - 1) // not cut short by the fraction of a second
	} else if at, err = time.Parse(time.RFC3339, text); err != nil {
		if at, err = time.Parse(time.DateOnly, text); err != nil {
			return 0, fmt.Errorf("%s, got %q", want, text)
		}
	}
	if at.Unix() <= now.Unix() {
		return 0, fmt.Errorf("%q is over: it is %s", text, now.UTC().Format(time.RFC3339))
	}
	return at.Unix(), nil
}

// signedWith reads the secret that is named on the command line. What a route
// would make of the path is not known, so it has to be plain.
func signedWith(file string, u *url.URL, l *securelink.Link) (securelink.Key, error) {
	site := &front.Site{}
	t := site.Resolve(u, false)
	if l.Path = t.Path; t.Path == "" {
		return nil, usageError("%s: %s", u, t.Reason)
	}
	k, err := securelink.ReadKey(file)
	if err != nil {
		return nil, secretError(file, err)
	}
	return k, nil
}

// signedBy finds out which route of a configuration answers the URL, and reads
// its secret.
func signedBy(file string, u *url.URL, l *securelink.Link) (securelink.Key, error) {
	cfg, err := config.Load(file)
	if err != nil {
		return nil, configError(err)
	}
	w, err := assemble.NewWorker(cfg, assemble.Inputs{Version: version, Log: slog.New(slog.DiscardHandler), Ledger: assemble.LocalLedgers(cfg),
		Scripts: func(*config.App) cgi.Starter { return nil }, Dry: true})
	if err != nil {
		return nil, err
	}
	host := u.Host
	if host == "" {
		host = "localhost"
	}
	site := w.Handler.Sites.Find(host)
	if site == nil {
		return nil, fmt.Errorf("%s: no site for host %q", u, host)
	}
	t := site.Resolve(u, false)
	if err := linkable(u, t, l.Client); err != nil {
		return nil, err
	}
	l.Path = t.Path
	secret := routeAt(cfg, t.Route.Place).SecureLink.SecretFile
	k, err := securelink.ReadKey(secret)
	if err != nil {
		return nil, secretError(secret, err)
	}
	return k, nil
}

// linkable says why a link to a target would not work.
func linkable(u *url.URL, t front.Target, client netip.Addr) error {
	switch r := t.Route; {
	case t.Path == "":
		return fmt.Errorf("%s: %s", u, t.Reason)
	case r == nil:
		return fmt.Errorf("%s: no route matches, so it needs no signature", u)
	case r.Link == nil:
		return fmt.Errorf("%s: the route %q has no secure_link", u, r.Text)
	case r.Internal:
		return fmt.Errorf("%s: the route %q is internal: no link leads there", u, r.Text)
	case t.Location != "":
		return fmt.Errorf("%s is a folder: sign %s", u, t.Location)
	case r.Link.Client && !client.IsValid():
		return fmt.Errorf("%s: the route %q wants the address of the client: --client", u, r.Text)
	case !r.Link.Client && client.IsValid():
		return fmt.Errorf("%s: the route %q does not look at the client (bind_client = false), so --client would mean nothing", u, r.Text)
	}
	return nil
}

// routeAt finds a route by its number among those of all sites.
func routeAt(cfg *config.Config, place int) *config.Route {
	for _, s := range cfg.Sites {
		if place < len(s.Routes) {
			return s.Routes[place]
		}
		place -= len(s.Routes)
	}
	return nil
}

func secretError(file string, err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return &master.ExitError{Code: master.ExitConfig, Err: fmt.Errorf("secret file %s: %w", file, err)}
}
