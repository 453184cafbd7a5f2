package main

import (
	"crypto/rand"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/fcgi"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"sluice/internal/config"
	"sluice/internal/securelink"
	"sluice/testdata/demo"
)

func demoCommand() *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "serve the site that is in this program: scripts, a FastCGI application, a download by X-Sendfile",
		Flags: []cli.Flag{&cli.StringFlag{Name: "listen", Value: "127.0.0.1:8080", Usage: "`ADDRESS` to listen on"}},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usageError("demo takes no argument")
			}
			return runDemo(c.String("listen"))
		},
	}
}

func runDemo(listen string) error {
	dir, err := os.MkdirTemp("", "sluice-demo-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := unpack(dir); err != nil {
		return err
	}
	secret := filepath.Join(dir, "link.key")
	if err := os.WriteFile(secret, []byte(rand.Text()+"\n"), 0o600); err != nil {
		return err
	}
	key, err := securelink.ReadKey(secret)
	if err != nil {
		return err
	}
	link := signedDemo + "?" + key.Query(securelink.Link{Path: signedDemo, Expires: time.Now().Add(demoLink).Unix()})
	self, err := os.Executable()
	if err != nil {
		return err
	}
	text := generated{
		Listen:    []string{listen},
		Key:       "demo",
		Root:      filepath.Join(dir, "site"),
		Index:     []string{"index.html"},
		SendRoots: []string{filepath.Join(dir, "files")},
		PHP:       hasPHP(),
		App:       []string{self, "demo-app", filepath.Join(dir, "files")},
		Signed:    filepath.Join(dir, "files"),
		Secret:    secret,
	}
	return serve(func() (*config.Config, error) { return text.parse("demo") }, false, func(cfg *config.Config, addrs []net.Addr) {
		for _, a := range addrs {
			printDemo(a, link)
		}
		fmt.Println("control", cfg.Control)
	})
}

// A download that needs no child, and for how long its link is good.
const (
	signedDemo = "/signed/download.txt"
	demoLink   = 24 * time.Hour
)

func printDemo(a net.Addr, link string) {
	for _, path := range []string{"/", "/hello.cgi", "/app/", "/app/download", link} {
		fmt.Println(urlOf(a, path))
	}
	if _, err := exec.LookPath("perl"); err == nil {
		fmt.Println(urlOf(a, "/env.pl"))
	} else {
		fmt.Println("missing: perl, for /env.pl")
	}
	if hasPHP() {
		fmt.Println(urlOf(a, "/info.php"))
	} else {
		fmt.Println("missing: php-cgi, for /info.php")
	}
}

// unpack writes the demo site below dir; scripts become executable.
func unpack(dir string) error {
	return fs.WalkDir(demo.Site, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(dir, path)
		if d.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		data, err := demo.Site.ReadFile(path)
		if err != nil {
			return err
		}
		mode := os.FileMode(0o644)
		if ext := filepath.Ext(path); ext == ".cgi" || ext == ".pl" {
			mode = 0o755
		}
		return os.WriteFile(to, data, mode)
	})
}

// demoAppCommand is the FastCGI application of the demo.
func demoAppCommand() *cli.Command {
	return &cli.Command{
		Name:   "demo-app",
		Hidden: true,
		Action: func(c *cli.Context) error {
			return fcgi.Serve(nil, demoApp(c.Args().First()))
		},
	}
}

func demoApp(files string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/app/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintf(w, "A FastCGI application, process %d.\nYou asked for %s.\n", os.Getpid(), r.URL)
	})
	mux.HandleFunc("/app/download", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Content-Disposition", `attachment; filename="download.txt"`)
		w.Header().Set("X-Sendfile", filepath.Join(files, "download.txt"))
	})
	return mux
}
