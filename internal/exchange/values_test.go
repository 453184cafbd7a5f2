package exchange

import (
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/spawner"
)

// A child is asked for its values on a lease of its own.
func TestAskValues(t *testing.T) {
	result := func(n string) []byte {
		content := "\x0e" + string(rune(len(n))) + "FCGI_MAX_CONNS" + n
		return append([]byte{1, 10, 0, 0, 0, byte(len(content)), 0, 0}, content...)
	}
	cases := []struct {
		name   string
		answer func(net.Conn)
		log    string
		warns  bool
	}{
		{"fewer", func(c net.Conn) { c.Write(result("1")) }, "FCGI_MAX_CONNS=1 connections=4", true},
		{"as many", func(c net.Conn) { c.Write(result("4")) }, "says what it can take", false},
		{"not a number", func(c net.Conn) { c.Write(result("x")) }, "says what it can take", false},
		{"silent", func(c net.Conn) { io.Copy(io.Discard, c) }, "does not say", false},
		{"closes", func(c net.Conn) {}, "does not say", false},
		{"nonsense", func(c net.Conn) { c.Write([]byte("HTTP/1.1 400 Bad Request")) }, "does not say", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			l, err := net.Listen("unix", path)
			must(t, err)
			defer l.Close()
			done := make(chan []byte, 1)
			go func() {
				nc, err := l.Accept()
				if err != nil {
					return
				}
				defer nc.Close()
				b := make([]byte, 1000)
				n, _ := nc.Read(b)
				c.answer(nc)
				done <- b[:n]
			}()
			n := &noted{Ledger: spawner.NewLedger(spawner.LedgerOptions{Slots: make([]spawner.SlotOptions, 1)}), outcomes: map[int][]spawner.Outcome{}}
			var log logText
			var reports []spawner.Report
			b := &FastCGI{}
			b.Pool = spawner.NewPool(spawner.PoolOptions{Ledger: n, Targets: []spawner.Target{{Network: "unix", Address: path}},
				Report: func(r spawner.Report) { reports = append(reports, r) }})
			n.Set(0, spawner.Ready, 1000)
			begin := time.Now()
			b.AskValues(4, log.logger())
			if d := time.Since(begin); d > 5*time.Second {
				t.Errorf("took %v", d)
			}
			if q := <-done; len(q) < 8 || q[1] != 9 || q[3] != 0 || !strings.Contains(string(q), "FCGI_MAX_CONNS") {
				t.Errorf("asked %q", q)
			}
			if !strings.Contains(log.String(), c.log) || strings.Contains(log.String(), "WARN") != c.warns {
				t.Errorf("log %s", &log)
			}
			if len(reports) > 0 || !slices.Equal(n.outcomes[0], []spawner.Outcome{spawner.Unsent}) || n.Counts().Children[0].Finishing {
				t.Errorf("reports %v, outcomes %v", reports, n.outcomes)
			}
		})
	}
	var log logText
	b := &FastCGI{Pool: spawner.NewPool(spawner.PoolOptions{Ledger: spawner.NewLedger(spawner.LedgerOptions{Slots: make([]spawner.SlotOptions, 1)}),
		Targets: make([]spawner.Target, 1)})}
	b.AskValues(4, log.logger())
	if !strings.Contains(log.String(), "was not asked") || strings.Contains(log.String(), "WARN") {
		t.Errorf("without a child: %s", &log)
	}
}
