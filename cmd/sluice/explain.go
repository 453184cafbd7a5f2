package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"sluice/cgi"
	"sluice/fcgi"
	"sluice/internal/assemble"
	"sluice/internal/config"
	"sluice/internal/front"
	"sluice/internal/front/peer"
	"sluice/internal/securelink"
)

func explainCommand() *cli.Command {
	return &cli.Command{
		Name:      "explain",
		Usage:     "say which site, route, app and script a URL reaches, and what environment the child would see",
		ArgsUsage: "URL",
		Flags:     []cli.Flag{configFlag},
		Action: func(c *cli.Context) error {
			if c.String("config") == "" || c.Args().Len() != 1 {
				return usageError("explain needs -c FILE and one URL")
			}
			cfg, err := loadChecked(c.String("config"))
			if err != nil {
				return err
			}
			r, err := requestFor(c.Args().First(), cfg)
			if err != nil {
				return usageError("%v", err)
			}
			w, err := assemble.NewWorker(cfg, assemble.Inputs{Version: version, Log: slog.New(slog.DiscardHandler),
				Ledger:  assemble.LocalLedgers(cfg),
				Scripts: func(*config.App) cgi.Starter { return nil }, PassFrom: os.Environ()})
			if err != nil {
				return err
			}
			explain(c.App.Writer, w.Handler, r)
			return nil
		},
	}
}

// requestFor is the request that a simple client would make for the URL. One
// without a host is for the first listener.
func requestFor(text string, cfg *config.Config) (*http.Request, error) {
	if strings.HasPrefix(text, "/") {
		text = "http://localhost" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, err
	}
	if u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is neither a path nor an http URL", text)
	}
	r, err := http.NewRequest(http.MethodGet, text, nil)
	if err != nil {
		return nil, err
	}
	r.RequestURI = u.RequestURI()
	r.RemoteAddr = "127.0.0.1:49152"
	for _, l := range cfg.Listeners {
		if a, err := net.ResolveTCPAddr("tcp", l.Address); l.Network == "tcp" && err == nil {
			r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(a)))
			break
		}
	}
	return r, nil
}

func explain(out io.Writer, h *front.Handler, r *http.Request) {
	line := func(name string, value any) { fmt.Fprintf(out, "%-10s %v\n", name, value) }
	site := h.Sites.Find(r.Host)
	if site == nil {
		line("site", "none for host "+r.Host)
		line("answer", http.StatusNotFound)
		return
	}
	if len(site.Hosts) == 0 {
		line("site", "default")
	} else {
		line("site", strings.Join(site.Hosts, " "))
	}
	t := site.Resolve(r.URL, false)
	if t.Route != nil {
		line("route", t.Route.Text)
	} else {
		line("route", "none")
	}
	if t.Route != nil && t.Route.Link != nil {
		line("link", explainLink(r, t))
	}
	if t.Route != nil && t.Route.Authorizer != nil {
		line("authorizer", t.Route.Authorizer.Name)
	}
	switch {
	case t.Location != "":
		line("answer", fmt.Sprintf("%d to %s", t.Status, t.Location))
	case t.Status != 0:
		line("answer", fmt.Sprintf("%d: %s", t.Status, t.Reason))
	case t.App == nil:
		line("file", t.Root+t.File)
	default:
		line("app", t.App.Name)
		if !t.App.Scripts {
			line("role", role(t.App))
		}
		line("script", t.ScriptFilename)
		explainEnv(out, h, r, t)
	}
}

// explainLink says that a signature is wanted, and what the URL's is worth.
func explainLink(r *http.Request, t front.Target) string {
	text := "needs a signature"
	if t.Route.Link.Client {
		text += " for the client's address"
	}
	client := peer.AddrOf(r.RemoteAddr)
	v := t.Route.Link.Check(t.Path, r.URL.RawQuery, client, time.Now())
	text += "; this one is " + v.String()
	if t.Route.Link.Client && v != securelink.Unsigned {
		text += " for " + client.String()
	}
	if v != securelink.Good {
		text += fmt.Sprintf(": %d", v.Status())
	}
	return text
}

func role(a *front.App) fcgi.Role {
	if a.Filter {
		return fcgi.Filter
	}
	return fcgi.Responder
}

func explainEnv(out io.Writer, h *front.Handler, r *http.Request, t front.Target) {
	var env []string
	h.Meta(r, t).Each(func(name, value string) { env = append(env, name+"="+value) })
	slices.Sort(env)
	fmt.Fprintln(out)
	for _, e := range env {
		fmt.Fprintln(out, e)
	}
}
