package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A request's field Test-Say is the header block that the application answers with, before a body of its own; every byte
// that is neither letter nor digit is \0 and three octal digits, as printf(1) knows them.
const sayScript = `#!/bin/sh
if [ "$SCRIPT_NAME" = "$SENT_URI" ]; then
	[ -e "$SENT_FILE.down" ] && { printf 'Status: 503\n\n'; exit; }
	form=$(cat)
	printf '%s\n' "$form" >>"$SENT_FILE"
	[ -e "$SENT_FILE.names" ] && printf 'X-Sendfile: %s\n' "$(cat "$SENT_FILE.names")"
	printf 'Content-Type: text/plain\n\nthanks\n'
	exit
fi
printf '%b\n\n' "$HTTP_TEST_SAY"
echo body of the application
`

var octal = regexp.MustCompile(`\\0[0-7]{3}`)

// saidRecords is the same in FastCGI; done: this was such a request. more: the connection is still good.
func saidRecords(c net.Conn, params, stdin []byte) (done, more bool) {
	env := decodeParams(params)
	file := env["SENT_FILE"]
	head := ""
	switch {
	case file != "" && env["REQUEST_METHOD"] == "POST" && env["SCRIPT_NAME"] == env["SENT_URI"]:
		head = sentRecord(file, string(stdin))
	case env["HTTP_TEST_SAY"] != "":
		head = octal.ReplaceAllStringFunc(env["HTTP_TEST_SAY"], func(s string) string {
			n, _ := strconv.ParseUint(s[2:], 8, 8)
			return string([]byte{byte(n)})
		})
	default:
		return false, false
	}
	if writeRecord(c, recStdout, head+"\n\nbody of the application\n") != nil {
		return true, false
	}
	endRecord(c, 0)
	return true, true
}

func sentRecord(file, form string) (head string) {
	if _, err := os.Stat(file + ".down"); err == nil {
		return "Status: 503"
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return "Status: 500"
	}
	defer f.Close()
	if _, err := f.WriteString(form + "\n"); err != nil {
		return "Status: 500"
	}
	if name, err := os.ReadFile(file + ".names"); err == nil {
		return "X-Sendfile: " + string(name)
	}
	return "Content-Type: text/plain"
}

// protocols are how the applications of these tests are reached.
var protocols = []string{"fastcgi", "cgi"}

// startDialects starts a server with an application for each protocol and each policy, at /PROTOCOL-POLICY; a policy is
// the lines of its [app.send_file]. Each also has an internal route /PROTOCOL-POLICY-sent, which SENT_FILE is for.
func startDialects(t *testing.T, dir, top string, policies map[string]string) *site {
	t.Helper()
	write(t, dir, "say.cgi", sayScript)
	for _, folder := range []string{"www", "files", "tmp"} {
		write(t, dir, folder+"/index.html", "")
	}
	var apps, routes strings.Builder
	for _, p := range protocols {
		for policy, lines := range policies {
			name := p + "-" + policy
			uri := "/" + name + "-sent"
			fmt.Fprintf(&apps, "[[app]]\nname = %q\nkind = %q\nenv = { SENT_URI = %q, SENT_FILE = %q }\n", name, p, uri, filepath.Join(dir, name+".sent"))
			script := ""
			if p == "fastcgi" {
				fmt.Fprintf(&apps, "command = [\"fcgi-child\"]\nscale = \"static\"\nmax = 1\n")
			} else {
				script = "script = \"say.cgi\"\n"
			}
			fmt.Fprintf(&apps, "[app.send_file]\n%s\n", strings.ReplaceAll(lines, "$SENT", uri))
			fmt.Fprintf(&routes, "[[site.route]]\nmatch = \"/%s\"\napp = %q\n%s", name, name, script)
			fmt.Fprintf(&routes, "[[site.route]]\nmatch = \"= %s\"\napp = %q\ninternal = true\n%s", uri, name, script)
		}
	}
	return startSite(t, dir, top+apps.String()+"[[site]]\nroot = \"www\"\n"+routes.String())
}

// said is a request to an application that answers with the header block.
func said(method, app, head string, fields ...string) httpRequest {
	var b strings.Builder
	for _, c := range []byte(head) {
		if c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "\\0%03o", c)
		}
	}
	return httpRequest{method: method, target: "/" + app, fields: append(slices.Clip(fields), "Test-Say: "+b.String())}
}

// dialect is a header that names a file.
type dialect struct {
	header string
	value  func(path string) string
}

func plainValue(path string) string { return path }

// dialects are all that do. What X-Sendfile2 is given must have no blank and no comma.
var dialects = []dialect{
	{"X-Sendfile", plainValue},
	{"X-LIGHTTPD-send-file", plainValue},
	{"X-Reproxy-File", plainValue},
	{"X-Sendfile-Temporary", plainValue},
	{"X-Sendfile2", func(path string) string { return path + " 0-" }},
}

// percent encodes all of a path but for letters, digits and slashes.
func percent(path string) string {
	var b strings.Builder
	for _, c := range []byte(path) {
		if c == '/' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	return b.String()
}
