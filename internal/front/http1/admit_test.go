package http1_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"sluice/internal/front/http1"
	"sluice/internal/front/http1/http1test"
	"sluice/internal/front/peer"
)

// keeping answers and keeps the connection.
var keeping = http1.Options{Connections: 2, KeepaliveIdle: time.Minute}

// served expects an answer with the status on a connection, whose request has been
// sent or is sent by this.
func served(t *testing.T, c net.Conn, status int) *http.Response {
	t.Helper()
	res, err := ask(c, 10*time.Second)
	if err != nil {
		t.Fatalf("no %d: %v", status, err)
	}
	if res.StatusCode != status {
		t.Fatalf("%s, want %d", res.Status, status)
	}
	return res
}

// refusedOn expects that the connection is refused, and ends in order.
func refusedOn(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	all, err := io.ReadAll(c)
	if err != nil {
		t.Errorf("it ends with %v", err)
	}
	res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(all)), nil)
	if err != nil {
		t.Fatalf("%q: %v", all, err)
	}
	if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || !res.Close {
		t.Errorf("%q", all)
	}
	if b, err := io.ReadAll(res.Body); err != nil || !strings.HasPrefix(string(b), "503") {
		t.Errorf("%q, %v", b, err)
	}
}

func TestRefuse(t *testing.T) {
	o := keeping
	o.Refuse = true
	_, addrs, _ := serving(t, o, 2)
	first, second := dial(t, addrs[0]), dial(t, addrs[1])
	served(t, first, 200)
	served(t, second, 200)
	for name, send := range map[string]string{
		"a request":         "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"a part of one":     "GE",
		"nothing":           "",
		"a large body":      "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n" + strings.Repeat("x", 5000000),
		"several at a time": strings.Repeat("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 100),
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, addrs[0])
			go io.WriteString(c, send)
			refusedOn(t, c)
		})
	}
	c := dial(t, addrs[0])
	io.WriteString(c, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
	if all, err := io.ReadAll(c); err != nil || !bytes.HasSuffix(all, []byte("\r\n\r\n")) {
		t.Errorf("%q, %v", all, err)
	}
	// One that only looks whether somebody is here, and one that resets.
	dial(t, addrs[0]).Close()
	r := dial(t, addrs[0])
	r.(*net.TCPConn).SetLinger(0)
	r.Close()

	served(t, first, 200) // who is in stays in
	first.Close()
	deadline := time.Now().Add(10 * time.Second)
	for {
		c := dial(t, addrs[0])
		res, err := ask(c, 10*time.Second)
		c.Close()
		if err == nil && res.StatusCode == 200 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("refused although there is room: %v, %v", res, err)
		}
	}
}

// Without a limit nobody is one too many.
func TestRefuseWithoutLimit(t *testing.T) {
	o := keeping
	o.Connections, o.Refuse = 0, true
	_, addrs, _ := serving(t, o, 1)
	served(t, dial(t, addrs[0]), 200)
}

// What is refused ends also where the client does not: in the time that there is
// for it, and at once when the server stops.
func TestRefusedStay(t *testing.T) {
	o := keeping
	o.Connections, o.Refuse = 1, true
	s, addrs, _ := serving(t, o, 1)
	served(t, dial(t, addrs[0]), 200)
	c := dial(t, addrs[0])
	served(t, c, 503)
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Error(err)
	}
	begin := time.Now()
	for time.Since(begin) < 10*time.Second {
		if _, err := io.WriteString(c, "x"); err != nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("still open after %v; there is room for %d", time.Since(begin), s.Room())
}

func TestPerClient(t *testing.T) {
	so := peer.SeatsOptions{Most: 2, Connections: 100, Places: 1}
	mem := make([]byte, so.Size())
	peer.CreateSeats(so, mem)
	o := keeping
	o.Connections, o.Seats = 100, peer.OpenSeats(so, mem, 1)
	_, addrs, _ := serving(t, o, 1)
	from := func(host string) net.Conn {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}}
		c, err := d.Dial("tcp", addrs[0])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	first, second := from("127.0.0.1"), from("127.0.0.1")
	served(t, first, 200)
	served(t, second, 200)
	c := from("127.0.0.1")
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	refusedOn(t, c)
	served(t, from("127.0.0.2"), 200)
	served(t, second, 200)
	second.Close()
	comesBack(t, func() net.Conn { return from("127.0.0.1") })
}

// comesBack waits until a connection is served again.
func comesBack(t *testing.T, dial func() net.Conn) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		res, err := ask(dial(), 10*time.Second)
		if err == nil && res.StatusCode == 200 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still refused: %v, %v", res, err)
		}
	}
}

// lines collects a log.
type lines struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// behindProxy serves on a listener that wants PROXY headers, and answers with the
// addresses that it knows of.
func behindProxy(t *testing.T, o http1.Options, from ...string) (addr string, log *lines) {
	t.Helper()
	n, err := peer.ParseNetworks(from)
	if err != nil {
		t.Fatal(err)
	}
	log = &lines{}
	o.Log = slog.New(slog.NewTextHandler(log, nil))
	o.KeepaliveIdle = time.Minute
	o.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s to %s", r.RemoteAddr, r.Context().Value(http.LocalAddrContextKey))
	})
	_, addrs, _ := http1test.ServeOn(t, o, 1, &http1.Listener{TCP: true, ProxyFrom: n})
	return addrs[0], log
}

func v2(t *testing.T, h *proxyproto.Header) string {
	t.Helper()
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestProxyHeader(t *testing.T) {
	tcp := func(s string) net.Addr {
		a, err := net.ResolveTCPAddr("tcp", s)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	addr, log := behindProxy(t, http1.Options{}, "127.0.0.0/8")
	const both = "192.0.2.1:4711 to 198.51.100.2:443"
	local := &proxyproto.Header{Version: 2, Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}
	unix := proxyproto.HeaderProxyFromAddrs(2, &net.UnixAddr{Net: "unix", Name: "/a"}, &net.UnixAddr{Net: "unix", Name: "/b"})
	with := proxyproto.HeaderProxyFromAddrs(2, tcp("192.0.2.1:4711"), tcp("198.51.100.2:443"))
	with.SetTLVs([]proxyproto.TLV{{Type: proxyproto.PP2_TYPE_AUTHORITY, Value: []byte("example.org")}})
	for _, c := range []struct{ name, header, want string }{
		{"v1", "PROXY TCP4 192.0.2.1 198.51.100.2 4711 443\r\n", both},
		{"v1 of IPv6", "PROXY TCP6 2001:db8::1 2001:db8::2 4711 443\r\n", "[2001:db8::1]:4711 to [2001:db8::2]:443"},
		{"v1 unknown", "PROXY UNKNOWN\r\n", "own"},
		{"v2", v2(t, proxyproto.HeaderProxyFromAddrs(2, tcp("192.0.2.1:4711"), tcp("198.51.100.2:443"))), both},
		{"v2 of IPv6", v2(t, proxyproto.HeaderProxyFromAddrs(2, tcp("[2001:db8::1]:4711"), tcp("[2001:db8::2]:443"))), "[2001:db8::1]:4711 to [2001:db8::2]:443"},
		{"v2 with more", v2(t, with), both},
		{"v2 local", v2(t, local), "own"},
		{"v2 of a unix socket", v2(t, unix), "/a to /b"},
	} {
		for how, part := range map[string]int{"at once": 1 << 20, "byte by byte": 1, "in parts": 7} {
			t.Run(c.name+" "+how, func(t *testing.T) {
				nc := dial(t, addr)
				nc.(*net.TCPConn).SetNoDelay(true)
				want := c.want
				if want == "own" {
					want = fmt.Sprintf("%s to %s", nc.LocalAddr(), nc.RemoteAddr())
				}
				text := c.header + "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
				go func() {
					for len(text) > 0 {
						n := min(part, len(text))
						io.WriteString(nc, text[:n])
						text = text[n:]
					}
				}()
				nc.SetDeadline(time.Now().Add(10 * time.Second))
				in := bufio.NewReader(nc)
				for range 2 {
					res, err := http.ReadResponse(in, nil)
					if err != nil {
						t.Fatal(err)
					}
					if b, err := io.ReadAll(res.Body); string(b) != want || err != nil {
						t.Errorf("%q, %v, want %q", b, err, want)
					}
				}
			})
		}
	}
	if text := log.text(); text != "" {
		t.Errorf("logged: %s", text)
	}
}

func TestNoProxyHeader(t *testing.T) {
	addr, log := behindProxy(t, http1.Options{HeaderTimeout: 300 * time.Millisecond}, "127.0.0.1/32")
	for _, c := range []struct {
		name, send string
		silent     bool // not logged
	}{
		{"a request", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", false},
		{"a bad header", "PROXY TCP4 192.0.2.1 198.51.100.2 4711\r\n", false},
		{"a part of one", "PROXY TC", false},
		{"a part of one of v2", "\r\n\r\n\x00", false},
		{"one that is too long", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff", false},
		{"two", "PROXY UNKNOWN\r\nPROXY UNKNOWN\r\n", true}, // the second is a bad request
		{"nothing", "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := strings.Count(log.text(), "no PROXY header")
			nc := dial(t, addr)
			io.WriteString(nc, c.send)
			nc.SetDeadline(time.Now().Add(10 * time.Second))
			got, _ := io.ReadAll(nc) // or a reset
			if n := strings.Count(log.text(), "no PROXY header") - before; n > 0 == c.silent {
				t.Errorf("%d lines about it:\n%s", n, log.text())
			}
			if bad := strings.HasPrefix(string(got), "HTTP/1.1 400 "); bad != (c.name == "two") || !bad && len(got) > 0 {
				t.Errorf("answered: %q", got)
			}
			time.Sleep(time.Second / 4) // the log says so much a second
		})
	}
	if strings.Contains(log.text(), "level=WARN") || strings.Contains(log.text(), "level=ERROR") {
		t.Errorf("somebody else's fault: %s", log.text())
	}
	dial(t, addr).Close() // whether somebody is here
}

// A header from anybody else is a bad request, and one from the proxies alone is
// believed.
func TestProxyHeaderFromOthers(t *testing.T) {
	addr, _ := behindProxy(t, http1.Options{}, "10.0.0.0/8")
	c := dial(t, addr)
	served(t, c, 200)
	for _, header := range []string{"PROXY TCP4 192.0.2.1 198.51.100.2 4711 443\r\n", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x00"} {
		c := dial(t, addr)
		io.WriteString(c, header)
		served(t, c, 400)
	}
}

// The client behind the proxy counts, and the proxy's own connections do not.
func TestPerClientBehindProxy(t *testing.T) {
	so := peer.SeatsOptions{Most: 1, Connections: 100, Places: 1}
	mem := make([]byte, so.Size())
	peer.CreateSeats(so, mem)
	addr, _ := behindProxy(t, http1.Options{Seats: peer.OpenSeats(so, mem, 1)}, "127.0.0.1/32")
	client := func(header string) net.Conn {
		c := dial(t, addr)
		io.WriteString(c, header)
		return c
	}
	const one, two = "PROXY TCP4 192.0.2.1 198.51.100.2 4711 443\r\n", "PROXY TCP4 192.0.2.2 198.51.100.2 4711 443\r\n"
	first := client(one)
	served(t, first, 200)
	served(t, client(two), 200)
	for range 3 {
		c := client(one)
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		refusedOn(t, c)
	}
	refusedOn(t, client(one)) // without a request
	for range 3 {
		served(t, client("PROXY UNKNOWN\r\n"), 200)
	}
	first.Close()
	comesBack(t, func() net.Conn { return client(one) })
}
