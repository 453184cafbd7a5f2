package main

import (
	"bytes"
	"math/rand/v2"
	"mime/multipart"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// What the tests of applications share that people have, as they come from their
// packages: git_test.go, php_test.go, perl_test.go.

// noise is what no compression and no luck makes smaller.
func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// form is a multipart form with one file.
func form(t testing.TB, fields map[string]string, file []byte) (body, contentType string) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for k, v := range fields {
		w.WriteField(k, v)
	}
	part, err := w.CreateFormFile("file", "my file.bin")
	if err == nil {
		_, err = part.Write(file)
	}
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	return b.String(), "Content-Type: " + w.FormDataContentType()
}

// program runs one to its end, with an environment of its own, and returns what
// it says.
func program(t testing.TB, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@example.org")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
