package config

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// many is the upper limit of counts that have no other.
const many = math.MaxInt32

// text is a kind that is a string in the file. parse says in its error what
// would be right ("want …"); show is its inverse, and "" leaves the key out.
func text[V any](want string, parse func(s spot, text string) (V, error), show func(V) string) kind[V] {
	return kind[V]{
		read: func(s spot) (V, bool) {
			var v V
			err := errors.New(want)
			if s.n.shape == aString {
				v, err = parse(s, s.n.text)
			}
			if err != nil {
				s.bad("%v", err)
			}
			return v, err == nil
		},
		toml: func(p *printer, v V) string {
			if shown := show(v); shown != "" {
				return p.quote(shown)
			}
			return ""
		},
	}
}

// same is the show of a text that is kept as it is.
func same(v string) string { return v }

func wantWhole(low, high int64) string {
	if high == many {
		return fmt.Sprintf("want a whole number of %d or more", low)
	}
	return fmt.Sprintf("want a whole number from %d to %d", low, high)
}

// whole is an integer within limits, both included.
func whole[V int | int64](low, high V) kind[V] {
	return kind[V]{
		read: func(s spot) (V, bool) {
			n, err := strconv.ParseInt(strings.ReplaceAll(s.n.text, "_", ""), 0, 64)
			if s.n.shape != anInteger || err != nil || n < int64(low) {
				s.bad("%s", wantWhole(int64(low), int64(high)))
				return 0, false
			}
			if n > int64(high) {
				s.bad("want a whole number from %d to %d", low, high)
				return 0, false
			}
			return V(n), true
		},
		toml: func(_ *printer, v V) string { return strconv.FormatInt(int64(v), 10) },
	}
}

// boolean is true or false.
var boolean = kind[bool]{
	read: func(s spot) (bool, bool) {
		if s.n.shape != aBool {
			s.bad("want true or false")
			return false, false
		}
		return s.n.text == "true", true
	},
	toml: func(_ *printer, v bool) string { return strconv.FormatBool(v) },
}

var units = []struct {
	name  string
	bytes int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

var sizeForm = regexp.MustCompile(`^([0-9]+)([A-Za-z]*)$`)

// size is a number of bytes, "64KiB" or 65536, of at least low.
func size(low int64) kind[int64] {
	return kind[int64]{
		read: func(s spot) (int64, bool) {
			n, err := int64(0), errors.New(`want a size such as "64KiB"`)
			switch s.n.shape {
			case aString:
				n, err = parseSize(s.n.text)
			case anInteger:
				n, err = strconv.ParseInt(strings.ReplaceAll(s.n.text, "_", ""), 0, 64)
			}
			if err == nil && n < low {
				err = fmt.Errorf("want a size of %s or more", showSize(low))
			}
			if err != nil {
				s.bad("%v", err)
			}
			return n, err == nil
		},
		toml: func(p *printer, v int64) string { return p.quote(showSize(v)) },
	}
}

func parseSize(text string) (int64, error) {
	m := sizeForm.FindStringSubmatch(text)
	if m == nil {
		return 0, errors.New(`want a size such as "64KiB": a whole number and B, KiB, MiB or GiB`)
	}
	factor, err := unitBytes(m[2])
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil || n > math.MaxInt64/factor {
		return 0, errors.New("want a size below 8589934592GiB")
	}
	return n * factor, nil
}

// unitBytes knows what people write instead of KiB, and refuses it: some mean
// 1000 by it and some 1024.
func unitBytes(unit string) (int64, error) {
	if unit == "" {
		return 1, nil
	}
	for _, u := range units {
		if unit == u.name {
			return u.bytes, nil
		}
	}
	for _, u := range units {
		if strings.EqualFold(unit[:1], u.name[:1]) {
			return 0, fmt.Errorf("want %s for the unit", u.name)
		}
	}
	return 0, errors.New("want B, KiB, MiB or GiB for the unit")
}

// showSize uses the largest unit without a remainder.
func showSize(n int64) string {
	for _, u := range units {
		if n != 0 && u.bytes > 1 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}

// duration is Go's form, at least low.
func duration(low time.Duration) kind[time.Duration] {
	const want = `want a duration such as "30s" or "1m30s"`
	return text(want, func(_ spot, text string) (time.Duration, error) {
		d, err := time.ParseDuration(text)
		switch {
		case err != nil:
			return 0, errors.New(want)
		case d < low && low <= 1:
			return 0, errors.New([]string{"want a duration that is not negative", "want a duration of more than 0s"}[low])
		case d < low:
			return 0, fmt.Errorf("want a duration of %s or more", showDuration(low))
		case d > longest:
			return 0, errors.New("want a duration of 100 years or less")
		}
		return d, nil
	}, showDuration)
}

// longest leaves room for the present time beside it.
const longest = 100 * 365 * 24 * time.Hour

// positive is the least duration that is not none.
const positive = time.Duration(1)

// wholeSeconds is a duration for interfaces that count seconds.
var wholeSeconds = kind[time.Duration]{
	read: func(s spot) (time.Duration, bool) {
		d, ok := duration(time.Second).read(s)
		if ok && d%time.Second != 0 {
			s.bad("want whole seconds")
			return 0, false
		}
		return d, ok
	},
	toml: duration(time.Second).toml,
}

// showDuration is 1m rather than 1m0s.
func showDuration(d time.Duration) string {
	shown := d.String()
	if strings.HasSuffix(shown, "m0s") {
		shown = strings.TrimSuffix(shown, "0s")
	}
	if strings.HasSuffix(shown, "h0m") {
		shown = strings.TrimSuffix(shown, "0m")
	}
	return shown
}

var periods = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}

// rate is "100/s", /m or /h; a count of 0 is unlimited.
var rate = text(`want a rate such as "100/s"`, func(_ spot, text string) (Rate, error) {
	count, unit, _ := strings.Cut(text, "/")
	n, err := strconv.ParseUint(count, 10, 31)
	per := periods[unit]
	if text == "0" {
		per = time.Second
	}
	if err != nil || per == 0 {
		return Rate{}, errors.New(`want a rate such as "100/s" (s, m or h; "0/s" is unlimited)`)
	}
	return Rate{Count: int(n), Per: per}, nil
}, func(v Rate) string {
	for unit, per := range periods {
		if v.Per == per {
			return strconv.Itoa(v.Count) + "/" + unit
		}
	}
	return ""
})

// octal is permission bits as a string, so that 0660 and 660 are the same.
var octal = text(`want an octal string such as "0660"`, func(_ spot, text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 8, 32)
	if err != nil || n > 0o777 {
		return 0, errors.New(`want an octal string from "0000" to "0777"`)
	}
	return uint32(n), nil
}, func(v uint32) string { return fmt.Sprintf("%04o", v) })

// oneOf is one of a few words.
func oneOf(words ...string) kind[string] {
	want := "want one of " + strings.Join(words, ", ")
	return text(want, func(_ spot, text string) (string, error) {
		for _, w := range words {
			if text == w {
				return text, nil
			}
		}
		return "", errors.New(want)
	}, same)
}

// signals are what a child may be stopped with.
var signals = []string{"TERM", "QUIT", "INT", "HUP", "USR1", "USR2", "WINCH", "ABRT", "ALRM", "PIPE", "KILL"}

// signal is a name with or without SIG.
var signal = text("want the name of a signal, such as TERM", func(_ spot, text string) (string, error) {
	name := strings.TrimPrefix(strings.ToUpper(text), "SIG")
	for _, known := range signals {
		if name == known {
			return name, nil
		}
	}
	return "", fmt.Errorf("want one of %s", strings.Join(signals, ", "))
}, same)
