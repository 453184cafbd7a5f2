package config

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWith(t *testing.T) {
	fixed(t)
	base, err := Parse("/etc/sluice.toml", []byte("[limits]\nkeepalive_idle = \"1s\"\nconnections = 9\n[[listener]]\naddress = \"unix:/s\"\n"+minimal))
	if err != nil {
		t.Fatal(err)
	}
	before := *base
	c, err := base.With(Overrides{
		Listen:        []string{":81", "unix:/run/s"},
		Workers:       new(1),
		Accept:        new("none"),
		Linger:        new("off"),
		KeepaliveIdle: new(90 * time.Second),
		LogLevel:      new("debug"),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []Listener{
		{Network: "tcp", Address: ":81", Backlog: 4096},
		{Network: "unix", Address: "/run/s", Backlog: 4096, Mode: 0o660},
	}
	if diff := cmp.Diff(want, c.Listeners); diff != "" {
		t.Error(diff)
	}
	if c.Limits.KeepaliveIdle != 90*time.Second || c.Limits.Connections != 9 || c.Log.Level != "debug" {
		t.Errorf("limits %+v, log %+v", c.Limits, c.Log)
	}
	if !before.Equal(base) {
		t.Error("With changed its receiver")
	}
	again, err := c.With(Overrides{LogLevel: new("warn")})
	if err != nil || again.Log.Level != "warn" || len(again.Listeners) != 2 {
		t.Errorf("a second With: %+v, %v", again, err)
	}
	if same, err := base.With(Overrides{}); err != nil || !same.Equal(base) {
		t.Errorf("no flags make a difference: %v", err)
	}
	if _, err := (&Config{}).With(Overrides{}); err == nil {
		t.Error("a Config that was not loaded is accepted")
	}
}

func TestWithErrors(t *testing.T) {
	base, err := Parse("/etc/sluice.toml", []byte("log.level = \"warn\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		o    Overrides
		want string
	}{
		{"mode", Overrides{Accept: new("x")}, `--accept: want one of none, flock, fcntl, sysvsem, posixsem, pthread, uslock, partial, exclusive, reuseport, got "x"`},
		{"permits", Overrides{Accept: new("partial"), AcceptPermits: new(65)}, "--accept-permits: want a whole number from 1 to 64, got 65"},
		{"linger", Overrides{Linger: new("timed"), LingerIdle: new(time.Second), LingerTotal: new(time.Duration(-1))},
			"--linger-total: want a duration of more than 0s, got \"-1ns\""},
		{"workers", Overrides{Workers: new(65)}, "--workers: want a whole number from 0 to 64, got 65"},
		{"listen twice", Overrides{Listen: []string{":80", "*:80"}}, `--listen: "*:80" stands twice, first at --listen`},
		{"no address", Overrides{Listen: []string{}}, "--listen: want at least one element, got none"},
		{"keepalive", Overrides{KeepaliveIdle: new(-time.Second)}, `--keepalive-idle: want a duration that is not negative, got "-1s"`},
		{"level", Overrides{LogLevel: new("loud")}, `--log-level: want one of debug, info, warn, error, got "loud"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := base.With(tt.o)
			if err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}
