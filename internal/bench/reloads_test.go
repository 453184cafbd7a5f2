package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A server that answers a connection once, and then closes or resets it.
func fickle(t *testing.T, answers int, reset bool) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 4096)
			for range answers {
				c.Read(buf)
				c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + smallAnswer))
			}
			if reset {
				c.Read(buf)
				c.(*net.TCPConn).SetLinger(0)
			}
			c.Close()
		}
	}()
	return l.Addr().String()
}

// What a server takes away from a client is told apart.
func TestVisitor(t *testing.T) {
	for name, c := range map[string]struct {
		answers int
		reset   bool
		why     string
		gone    bool
	}{
		"kept, then closed": {1, false, "closed", true},
		"kept, then reset":  {1, true, "reset", true},
		"closed":            {0, false, "closed", false},
		"reset":             {0, true, "reset", false},
	} {
		t.Run(name, func(t *testing.T) {
			v := &visitor{addr: fickle(t, c.answers, c.reset), small: []byte(smallAnswer), keeps: true}
			for range c.answers {
				if v.exchange(); v.why != "" {
					t.Fatalf("%+v", v.visited)
				}
			}
			time.Sleep(50 * time.Millisecond)
			if v.exchange(); v.gone != c.gone || v.why != c.why && v.why != "reset" || len(v.seen) != c.answers+1 {
				t.Errorf("%+v", v.visited)
			}
			v.close()
		})
	}
	v := &visitor{addr: faulty(t), small: []byte(smallAnswer)}
	for range 8 {
		v.exchange()
	}
	if f := figuresOf(v.seen); f.requests != 8 || f.failed != 6 || f.why["503"] != 2 || f.why["wrong answer"] != 2 || f.why["closed"] != 2 {
		t.Errorf("%+v", f)
	}
}

func TestFiguresOfDisturbed(t *testing.T) {
	begin := time.Now()
	at := func(from, until int) span {
		return span{begin.Add(time.Duration(from) * time.Millisecond), begin.Add(time.Duration(until) * time.Millisecond)}
	}
	d := disturbances[0]
	row := disturbedRow{what: d, server: "sluice", load: "50/s", spans: []span{at(100, 120)}}
	row.alone.kept = []visited{{at: at(0, 10)}}
	row.during.kept = []visited{{at: at(0, 90)}, {at: at(50, 101)}, {at: at(160, 170), why: "reset", gone: true}, {at: at(171, 172)}}
	row.during.fresh = []visited{{at: at(110, 260), why: "503"}}
	meanwhile, beside := apart(row.during.all(), row.spans)
	if len(meanwhile) != 3 || len(beside) != 2 {
		t.Errorf("%d meanwhile, %d beside", len(meanwhile), len(beside))
	}
	f := figuresOf(row.during.all())
	if f.requests != 5 || f.failed != 1 || f.resets != 1 || f.gone != 1 || f.slow != 3 || f.most != 150*time.Millisecond {
		t.Errorf("%+v", f)
	}
	rep := &disturbedReport{rows: []disturbedRow{row}, holds: []disturbedHold{{what: d, server: "sluice", after: belongings{7, 8, 9 << 20}}}}
	text := rep.markdown()
	for _, want := range []string{"| sluice | 50/s | nothing |  | 1 | 0 | 0 | 0 | 10.0 ms |", "| reload, all | 1 | 5 | 1 (1 × 503) | 1 | 1 |",
		"| sluice | 50/s | 20.0 ms | 20.0 ms |", "| sluice | after | 7 | 8 | 9.0 MiB |"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	missed := rep.missed()
	if len(missed) != 2 || !strings.Contains(missed[0], "1 requests failed") || !strings.Contains(missed[1], "60ms more") {
		t.Errorf("missed %q", missed)
	}
}

// Each configuration is another one, and only in what is meant.
func TestAnother(t *testing.T) {
	for _, name := range disturbedServers {
		file := map[string]string{"sluice": "sluice.toml", "nginx": "nginx.conf", "lighttpd": "lighttpd.conf"}[name]
		dir := t.TempDir()
		in := &instance{dir: dir}
		path, err := in.write(file, site{Dir: dir, Port: 80, Root: "/srv", Path: "/app"})
		if err != nil {
			t.Fatal(err)
		}
		first, _ := os.ReadFile(path)
		d := &disturbed{in: in, idle: usualIdle}
		for range 100 {
			if err := d.another(file); err != nil {
				t.Fatal(err)
			}
		}
		last, _ := os.ReadFile(filepath.Join(dir, file))
		if name == "sluice" {
			first = []byte("limits.keepalive_idle = \"75s\"\n" + string(first))
		}
		if got := strings.Replace(string(last), idleKeys[file]+"175", idleKeys[file]+"75", 1); got != string(first) || string(last) == string(first) {
			t.Errorf("%s is\n%s", file, last)
		}
	}
}
