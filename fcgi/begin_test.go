package fcgi

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/cgi"
)

// sent are the bytes of a request, which have to go out in one write.
func sent(t testing.TB, req *Request) []byte {
	t.Helper()
	p := play()
	ex, err := Begin(p, req)
	if err != nil {
		t.Fatal(err)
	}
	ex.Close(cgi.Stop)
	if len(p.writes) != 1 {
		t.Fatalf("%d writes, want 1", len(p.writes))
	}
	return p.writes[0]
}

func TestBeginGolden(t *testing.T) {
	for _, c := range []struct {
		name string
		req  Request
		want []string
	}{
		{"as little as possible", Request{Role: Responder}, []string{
			"01 01 0001 0008 00 00 0001 00 0000000000",
			"01 04 0001 0000 00 00",
			"01 05 0001 0000 00 00",
		}},
		{"a parameter, an input, a kept connection", Request{Role: Responder, KeepConn: true, Params: params(pair{"A", "bc"}), Stdin: strings.NewReader("hi")}, []string{
			"01 01 0001 0008 00 00 0001 01 0000000000",
			"01 04 0001 0005 03 00 01 02 41 6263 000000",
			"01 04 0001 0000 00 00",
			"01 05 0001 0002 06 00 6869 000000000000",
			"01 05 0001 0000 00 00",
		}},
		{"authorizer", Request{Role: Authorizer, Params: params(pair{"ABCD", ""}, pair{"", ""})}, []string{
			"01 01 0001 0008 00 00 0002 00 0000000000",
			"01 04 0001 0008 00 00 04 00 41424344 00 00",
			"01 04 0001 0000 00 00",
			"01 05 0001 0000 00 00",
		}},
		{"filter without data", Request{Role: Filter, Stdin: strings.NewReader("")}, []string{
			"01 01 0001 0008 00 00 0003 00 0000000000",
			"01 04 0001 0000 00 00",
			"01 05 0001 0000 00 00",
			"01 08 0001 0000 00 00",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := strings.ReplaceAll(strings.Join(c.want, ""), " ", "")
			if got := hex.EncodeToString(sent(t, &c.req)); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

// TestBeginLengths: names and values at the borders of the two forms of a
// length, and of a record.
func TestBeginLengths(t *testing.T) {
	lengths := []int{0, 1, 7, 8, 126, 127, 128, 129, 255, 256, 65000, 65519, 65520, 65521, 65527, 65528, 65529, 65534, 65535, 65536, 65537, 131056, 131072, 200 << 10}
	for _, n := range lengths {
		for _, v := range lengths {
			if n > 1000 && v > 1000 && n+v != 65528*2 {
				continue
			}
			list := []pair{{strings.Repeat("n", n), strings.Repeat("v", v)}, {"LAST", "1"}}
			sameParams(t, list)
		}
	}
	// Many that fill records exactly, and one byte more or less.
	for _, total := range []int{65527, 65528, 65529, 65535, 65536, 131056, 131057} {
		sameParams(t, []pair{{"N", strings.Repeat("v", total-6)}})
	}
	var many []pair
	for i := range 5000 {
		many = append(many, pair{strings.Repeat("N", i%140), strings.Repeat("v", i%77)})
	}
	sameParams(t, many)
}

// sameParams sends parameters and decodes them again.
func sameParams(t testing.TB, list []pair) {
	t.Helper()
	a := &app{t: t, in: newReader(sent(t, &Request{Role: Responder, Params: params(list...)}))}
	g := a.request()
	if !slices.Equal(g.params, list) {
		t.Errorf("%d parameters came as %d others", len(list), len(g.params))
	}
	size := 0
	for i, rec := range g.seen {
		if rec.kind != 4 || len(rec.content) == 0 {
			continue
		}
		size += len(rec.content)
		if next := g.seen[i+1]; len(next.content) > 0 && len(rec.content) < 65528 {
			t.Errorf("a record of %d bytes with more to come", len(rec.content))
		}
	}
	if _, err := readRecord(a.in); err != io.EOF {
		t.Errorf("more behind the request: %v", err)
	}
}

// TestBeginAnyParams: whatever the parameters, they come out as they went in.
func TestBeginAnyParams(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	text := func() string {
		n := r.IntN(20)
		switch r.IntN(20) {
		case 0:
			n = 120 + r.IntN(16)
		case 1:
			n = r.IntN(70000)
		}
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return string(b)
	}
	for range 100 {
		list := make([]pair, r.IntN(30))
		for i := range list {
			list[i] = pair{text(), text()}
		}
		sameParams(t, list)
	}
}

// TestBeginUsesTheParamsOnce: a Meta is asked once for each request.
func TestBeginUsesTheParamsOnce(t *testing.T) {
	calls := 0
	sent(t, &Request{Params: func(func(name, value string)) { calls++ }})
	if calls != 1 {
		t.Errorf("%d calls", calls)
	}
}

// TestBuffersAreTheirOwn: requests of all sizes, one after the other, do not
// see each other's bytes.
func TestBuffersAreTheirOwn(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		in := bytes.Repeat([]byte{byte(r.Uint32())}, r.IntN(inlineLimit))
		value := strings.Repeat(string(rune('a'+r.IntN(26))), r.IntN(100<<10))
		a := &app{t: t, in: newReader(sent(t, &Request{Role: Responder, Params: params(pair{"V", value}), Stdin: bytes.NewReader(in)}))}
		if g := a.request(); g.stdin != string(in) || g.params[0].value != value {
			t.Fatal("not what was sent")
		}
	}
}

// refusing takes n bytes of a write and fails.
type refusing struct {
	*played
	n int
}

func (r refusing) Write(b []byte) (int, error) { return min(r.n, len(b)), net.ErrClosed }

func TestBeginWriteError(t *testing.T) {
	for _, n := range []int{0, 1, 20} {
		p := play()
		_, err := Begin(refusing{p, n}, &Request{Role: Responder, Stdin: strings.NewReader("x")})
		var we *WriteError
		if !errors.As(err, &we) || we.Written != n || !errors.Is(err, net.ErrClosed) || p.closed != 1 {
			t.Errorf("%d: %v, closed %d times", n, err, p.closed)
		}
	}
}

// TestWriteTimeout: an application that takes nothing does not hold us.
func TestWriteTimeout(t *testing.T) {
	ours, _ := pairOf(t)
	_, err := Begin(ours, &Request{Params: params(pair{"A", strings.Repeat("x", 4<<20)}), WriteTimeout: 20 * time.Millisecond})
	var we *WriteError
	if !errors.As(err, &we) || we.Written == 0 {
		t.Error(err)
	}
}
