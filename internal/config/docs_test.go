package config

import (
	"os"
	"strings"
	"testing"
)

// TestDocumentationHasEveryKey keeps docs/configuration.md complete: each key
// stands there in backquotes, in the section of its table.
func TestDocumentationHasEveryKey(t *testing.T) {
	data, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, s := range strings.Split("\n"+string(data), "\n## ")[1:] {
		title, _, _ := strings.Cut(s, "\n")
		sections[title] = s
	}
	section := func(table string) string {
		for title, s := range sections {
			if table == "" && title == "Top level" || table != "" && strings.Contains(title, "["+table+"]") {
				return s
			}
		}
		t.Fatalf("no section for table %q", table)
		return ""
	}
	var paths []keyPath
	fileRows.paths("", &paths)
	for _, p := range paths {
		table, name := "", p.name
		if i := strings.LastIndexByte(p.name, '.'); i >= 0 {
			table, name = p.name[:i], p.name[i+1:]
		}
		switch table {
		case "app.rlimit":
			table, name = "app", "rlimit"
		case "app.send_file":
			table = "app"
		}
		if !strings.Contains(section(table), "`"+name+"`") {
			t.Errorf("docs/configuration.md does not document %s", p.name)
		}
	}
}
