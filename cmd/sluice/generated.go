package main

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strings"
	"text/template"

	"sluice/internal/config"
)

// generated is the configuration of the commands that have no file.
type generated struct {
	Listen    []string
	Key       string // what the runtime directory is named after, beside the listeners
	Root      string
	Index     []string
	SendRoots []string
	PHP       bool
	App       []string // command of a FastCGI application for /app/
	Signed    string   // folder of files for who has a signed link below /signed/
	Secret    string   // file of its secret
}

var generatedText = template.Must(template.New("").Funcs(template.FuncMap{"toml": toml}).Parse(`
listen = {{toml .Listen}}
runtime = {{toml .Runtime}}
watch = false

[[app]]
name = "scripts"
kind = "cgi"
[app.send_file]
roots = {{toml .SendRoots}}
{{if .PHP}}
[[app]]
name = "php"
kind = "fastcgi"
command = ["php-cgi"]
[app.send_file]
roots = {{toml .SendRoots}}
{{end}}{{if .App}}
[[app]]
name = "app"
kind = "fastcgi"
command = {{toml .App}}
max = 2
[app.send_file]
roots = {{toml .SendRoots}}
{{end}}
[[site]]
root = {{toml .Root}}
index = {{toml .Index}}

[[site.route]]
match = "*.cgi"
app = "scripts"

[[site.route]]
match = "*.pl"
app = "scripts"

[[site.route]]
match = "*.php"
{{if .PHP}}app = "php"{{else}}deny = true{{end}}
{{if .App}}
[[site.route]]
match = "/app/"
app = "app"
{{end}}{{if .Signed}}
[[site.route]]
match = "/signed/"
alias = {{toml .Signed}}
secure_link = { secret_file = {{toml .Secret}} }
{{end}}`))

// toml is a value in TOML: the strings of JSON are TOML's too.
func toml(v any) (string, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return strings.TrimSpace(b.String()), err
}

// Runtime is the runtime directory: of this folder and these listeners, so that
// several servers beside each other do not meet.
func (g generated) Runtime() string {
	return config.DefaultRuntime(g.Key + "\x00" + strings.Join(g.Listen, "\x00"))
}

func (g generated) parse(name string) (*config.Config, error) {
	var b bytes.Buffer
	if err := generatedText.Execute(&b, g); err != nil {
		return nil, err
	}
	return config.Parse(name, b.Bytes())
}

func hasPHP() bool {
	_, err := exec.LookPath("php-cgi")
	return err == nil
}
