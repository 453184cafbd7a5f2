package config

import (
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

func checkPath(text string) error {
	if text == "" || strings.ContainsRune(text, 0) {
		return errors.New("want a path")
	}
	return nil
}

// file is a path of this system, made absolute.
var file = text("want a path", func(s spot, text string) (string, error) {
	return s.absolute(text), checkPath(text)
}, same)

// fileOr is a path, or one of a few words. confused are words that mean
// something elsewhere: a file of that name is written with ./ before it.
func fileOr(known []string, confused ...string) kind[string] {
	quoted := make([]string, len(known))
	for i, w := range known {
		quoted[i] = strconv.Quote(w)
	}
	want := "want " + strings.Join(quoted, ", ") + " or a path"
	k := text(want, func(s spot, text string) (string, error) {
		if slices.Contains(known, text) {
			return text, nil
		}
		if checkPath(text) != nil || slices.Contains(confused, text) {
			return "", errors.New(want)
		}
		return s.absolute(text), nil
	}, same)
	k.toml = func(p *printer, v string) string { return p.quote(v) }
	return k
}

// foreignPath is a path of another system, a container: it must be absolute.
var foreignPath = text("want an absolute path", func(_ spot, text string) (string, error) {
	if checkPath(text) != nil || !filepath.IsAbs(text) {
		return "", errors.New("want an absolute path")
	}
	return filepath.Clean(text), nil
}, same)

// pattern is a file name pattern of package path/filepath, made absolute.
var pattern = text("want a file name pattern", func(s spot, text string) (string, error) {
	if checkPath(text) != nil {
		return "", errors.New("want a file name pattern")
	}
	if _, err := filepath.Match(text, ""); err != nil {
		return "", errors.New("want a file name pattern with every [ closed")
	}
	if s.n.at.src == nil {
		return s.absolute(text), nil
	}
	return absolutePattern(s.n.at.src.dir, text), nil
}, same)

// argument is one word of a command.
var argument = kind[string]{
	read: func(s spot) (string, bool) {
		if s.n.shape != aString || strings.ContainsRune(s.n.text, 0) {
			s.bad("want a string")
			return "", false
		}
		return s.n.text, true
	},
	toml: func(p *printer, v string) string { return p.quote(v) },
}

// command is a program and its arguments. A program with a slash is a path of
// the file, one without is looked up in PATH.
var command = kind[[]string]{
	toml: list(argument, 1).toml,
	read: func(s spot) ([]string, bool) {
		words, ok := list(argument, 1).read(s)
		if !ok {
			return nil, false
		}
		if words[0] == "" {
			s.item(s.n.items[0]).bad("want a program")
			return nil, false
		}
		if strings.Contains(words[0], "/") {
			words[0] = s.absolute(words[0])
		}
		return words, true
	},
}

// account is the name or the number of a user or group. Whether it exists is
// looked up by CheckFiles.
var account = kind[string]{
	read: func(s spot) (string, bool) {
		const want = "want the name or the number of an account"
		name := s.n.text
		number, err := strconv.ParseInt(name, 10, 64)
		switch {
		case s.n.shape == anInteger && err == nil || s.n.shape == aString && err == nil:
			if number >= 0 && number < 1<<32-1 {
				return strconv.FormatInt(number, 10), true
			}
		case s.n.shape == aString && name != "" && !strings.ContainsAny(name, ":/ \t\r\n\x00"):
			return name, true
		}
		s.bad(want)
		return "", false
	},
	toml: text("", nil, same).toml,
}

// variables are environment variables and their values.
var variables = dictionary(func(name string) (string, error) {
	if name == "" || strings.ContainsAny(name, "=\x00") {
		return "", errors.New("want the name of an environment variable")
	}
	return name, nil
}, func(value string) error {
	if strings.ContainsRune(value, 0) {
		return errors.New("want a string without NUL")
	}
	return nil
})

// variable is the name of an environment variable.
var variable = text("want the name of an environment variable", func(_ spot, text string) (string, error) {
	if text == "" || strings.ContainsAny(text, "=\x00") {
		return "", errors.New("want the name of an environment variable")
	}
	return text, nil
}, same)
