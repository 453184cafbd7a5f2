package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// readText reads a string of a file in /etc by a kind.
func readText[V any](k kind[V], text string) (V, string) {
	r := &reader{marks: map[any]mark{}}
	src := newSource("f", "/etc", 0, nil)
	v, ok := k.read(spot{r: r, path: "key", n: &node{shape: aString, at: pos{src: src}, text: text}})
	if ok != (len(r.found) == 0) {
		return v, "ok and the errors contradict each other"
	}
	if !ok {
		return v, strings.TrimPrefix(r.found[0].message, "key: ")
	}
	return v, ""
}

// valueCase is a text with either what it means or a part of the message.
type valueCase[V any] struct {
	text string
	want V
	bad  string
}

func testKind[V any](t *testing.T, name string, k kind[V], cases []valueCase[V]) {
	t.Helper()
	for _, tt := range cases {
		t.Run(name+" "+tt.text, func(t *testing.T) {
			got, bad := readText(k, tt.text)
			if tt.bad != "" || bad != "" {
				if bad == "" || tt.bad == "" || !strings.Contains(bad, tt.bad) {
					t.Errorf("error %q, want %q", bad, tt.bad)
				}
				return
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(endpoint{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestScalars(t *testing.T) {
	testKind(t, "size", size(0), []valueCase[int64]{
		{text: "0"}, {text: "17", want: 17}, {text: "17B", want: 17}, {text: "64KiB", want: 65536},
		{text: "512MiB", want: 512 << 20}, {text: "8589934591GiB", want: 8589934591 << 30},
		{text: "8589934592GiB", bad: "below 8589934592GiB"}, {text: "99999999999999999999", bad: "below"},
		{text: "64KB", bad: "want KiB"}, {text: "64kib", bad: "want KiB"}, {text: "1G", bad: "want GiB"},
		{text: "8b", bad: "want B "}, {text: "1TiB", bad: "want B, KiB, MiB or GiB"}, {text: "1.5KiB", bad: "whole number"},
		{text: "-1", bad: "whole number"}, {text: "", bad: "want a size"}, {text: " 1", bad: "want a size"},
	})
	testKind(t, "duration", duration(0), []valueCase[time.Duration]{
		{text: "0s"}, {text: "0"}, {text: "1m30s", want: 90 * time.Second}, {text: "5", bad: "want a duration"},
		{text: "-1s", bad: "not negative"}, {text: "1d", bad: "want a duration"}, {text: "9999999h", bad: "want a duration"}, {text: "876001h", bad: "100 years or less"}, {text: "876000h", want: longest},
	})
	testKind(t, "rate", rate, []valueCase[Rate]{
		{text: "100/s", want: Rate{100, time.Second}}, {text: "6/m", want: Rate{6, time.Minute}}, {text: "1/h", want: Rate{1, time.Hour}},
		{text: "0/s", want: Rate{0, time.Second}}, {text: "0", want: Rate{0, time.Second}},
		{text: "100", bad: "want a rate"}, {text: "1/d", bad: "want a rate"}, {text: "-1/s", bad: "want a rate"}, {text: "/s", bad: "want a rate"},
	})
	testKind(t, "octal", octal, []valueCase[uint32]{
		{text: "0660", want: 0o660}, {text: "22", want: 0o22}, {text: "0", want: 0}, {text: "0888", bad: "octal"}, {text: "1777", bad: "0777"}, {text: "", bad: "octal"},
	})
	testKind(t, "signal", signal, []valueCase[string]{
		{text: "TERM", want: "TERM"}, {text: "SIGQUIT", want: "QUIT"}, {text: "sigusr1", want: "USR1"}, {text: "STOP", bad: "want one of"}, {text: "15", bad: "want one of"},
	})
	testKind(t, "account", account, []valueCase[string]{
		{text: "www-data", want: "www-data"}, {text: "33", want: "33"}, {text: "", bad: "account"}, {text: "a:b", bad: "account"}, {text: "4294967295", bad: "account"},
	})
	testKind(t, "path", file, []valueCase[string]{
		{text: "/a/", want: "/a"}, {text: "a/../b", want: "/etc/b"}, {text: "", bad: "want a path"}, {text: "a\x00", bad: "want a path"},
	})
	testKind(t, "foreign path", foreignPath, []valueCase[string]{{text: "/a/", want: "/a"}, {text: "a", bad: "absolute"}})
}

func TestNetwork(t *testing.T) {
	testKind(t, "listen", listening, []valueCase[endpoint]{
		{text: "127.0.0.1:8080", want: endpoint{"tcp", "127.0.0.1:8080"}}, {text: ":80", want: endpoint{"tcp", ":80"}},
		{text: "*:80", want: endpoint{"tcp", ":80"}}, {text: "[::1]:8080", want: endpoint{"tcp", "[::1]:8080"}},
		{text: "[0::1]:080", want: endpoint{"tcp", "[::1]:80"}}, {text: "localhost:0", want: endpoint{"tcp", "localhost:0"}},
		{text: "unix:/run/a b", want: endpoint{"unix", "/run/a b"}}, {text: "unix:run/x", want: endpoint{"unix", "/etc/run/x"}},
		{text: "systemd:web", want: endpoint{"systemd", "web"}}, {text: "unix:/" + strings.Repeat("x", 106), want: endpoint{"unix", "/" + strings.Repeat("x", 106)}},
		{text: "unix:/" + strings.Repeat("x", 107), bad: "at most 107 bytes, this has 108"}, {text: "unix:@x", bad: "unix"},
		{text: "systemd:", bad: "FileDescriptorName"}, {text: "80", bad: "no port"}, {text: "::1", bad: "no port"},
		{text: "[::1]", bad: "no port"}, {text: "::1:2:x", bad: "brackets"}, {text: "h:65536", bad: "port is a number"}, {text: "h:-1", bad: "port"},
	})
	testKind(t, "address", upstream, []valueCase[Address]{
		{text: "unix:/x", want: Address{"unix", "/x", 1}}, {text: "tcp:h:9000 weight=3", want: Address{"tcp", "h:9000", 3}},
		{text: "unix:/a b weight=2", want: Address{"unix", "/a b", 2}}, {text: "tcp:h:0", bad: "from 1 to 65535"},
		{text: "h:9000", bad: `"tcp:host:port"`}, {text: "tcp::9000", bad: "no host"}, {text: "tcp:h:9000 weight=x", bad: "weight=N"},
		{text: "tcp:h:9000 backup", bad: "port"},
	})
	testKind(t, "network", network, []valueCase[string]{
		{text: "10.0.0.0/8", want: "10.0.0.0/8"}, {text: "10.0.0.1", want: "10.0.0.1/32"}, {text: "::1", want: "::1/128"},
		{text: "unix", want: "unix"}, {text: "unix:", want: "unix"}, {text: "::ffff:10.0.0.1", want: "10.0.0.1/32"},
		{text: "::ffff:10.0.0.0/104", want: "10.0.0.0/8"}, {text: "unix:/x", bad: "prefix"}, {text: "fe80::1%eth0", bad: "prefix"},
		{text: "10.0.0.1/8", bad: "want 10.0.0.0/8"}, {text: "h", bad: "prefix"}, {text: "10.0.0.0/33", bad: "prefix"},
	})
}

func TestWeb(t *testing.T) {
	testKind(t, "match", match, []valueCase[Match]{
		{text: "*.php", want: Match{"*.php", false, "/", ".php"}}, {text: "/", want: Match{"/", false, "/", ""}},
		{text: "/cgi-bin/", want: Match{"/cgi-bin/", false, "/cgi-bin/", ""}}, {text: "/gitweb", want: Match{"/gitweb", false, "/gitweb", ""}},
		{text: "/blog/*.php", want: Match{"/blog/*.php", false, "/blog/", ".php"}}, {text: "= /ping", want: Match{"= /ping", true, "/ping", ""}},
		{text: "=/ping", want: Match{"=/ping", true, "/ping", ""}}, {text: "*.tar.gz", want: Match{"*.tar.gz", false, "/", ".tar.gz"}},
		{text: "", bad: "want"}, {text: "x", bad: `"*.ext"`}, {text: "*", bad: `"*.ext"`}, {text: "/a*.php", bad: "only before an ending"},
		{text: "*.a*", bad: "only before an ending"}, {text: "*.", bad: "only before"}, {text: "/*.php/x", bad: "only before"}, {text: "= *.php", bad: "exact path"},
		{text: "/a?b", bad: "query"}, {text: "*.php?", bad: "query"}, {text: "/a/../b", bad: `want "/b"`}, {text: "//", bad: "empty and dot"},
		{text: "/a/./", bad: "empty and dot"}, {text: "= ping", bad: `begins with "/"`}, {text: "/\x01", bad: "control"},
	})
	testKind(t, "host", host, []valueCase[string]{
		{text: "Example.ORG", want: "example.org"}, {text: "*.example.org", want: "*.example.org"}, {text: "example.org.", want: "example.org"},
		{text: "[::1]", want: "::1"}, {text: "::1", want: "::1"}, {text: "127.0.0.1", want: "127.0.0.1"}, {text: "a:80", bad: "without a port"},
		{text: "*", bad: "default one"}, {text: "", bad: "default one"}, {text: "bücher.example", bad: "want a host name"}, {text: "-a", bad: "want a host name"},
	})
	testKind(t, "URL", urlPrefix, []valueCase[string]{
		{text: "http://store/", want: "http://store/"}, {text: "https://s:1/a/", want: "https://s:1/a/"}, {text: "http://store", bad: `"/" behind`},
		{text: "ftp://x/", bad: "want a URL"}, {text: "http://u@x/", bad: "without user"}, {text: "http://x/?", bad: "query"}, {text: "/x", bad: "want a URL"},
	})
	testKind(t, "name", name, []valueCase[string]{
		{text: "php-8.2_x", want: "php-8.2_x"}, {text: "", bad: "want a name"}, {text: "a/b", bad: "want a name"}, {text: ".a", bad: "want a name"},
	})
}

func TestShow(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Minute: "1m", 10 * time.Minute: "10m", time.Hour: "1h", 10 * time.Hour: "10h",
		time.Hour + time.Second: "1h0m1s", time.Hour + time.Minute: "1h1m", 1500 * time.Millisecond: "1.5s",
	} {
		if got := showDuration(d); got != want {
			t.Errorf("%d: %q, want %q", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 1: "1", 1023: "1023", 1024: "1KiB", 1 << 20: "1MiB", 3 << 30: "3GiB", 1<<30 + 1024: "1048577KiB"} {
		if got := showSize(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestDidYouMean(t *testing.T) {
	known := []string{"listen", "linger", "limits", "max", "min"}
	for word, want := range map[string]string{
		"listne": "listen", "LISTEN": "listen", "lingr": "linger", "mx": "max", "lamp": "", "zzz": "", "listenaddress": "",
	} {
		if got := didYouMean(word, known); got == "" && want != "" || want != "" && !strings.Contains(got, `"`+want+`"`) || want == "" && got != "" {
			t.Errorf("%s: %q, want %q", word, got, want)
		}
	}
}
