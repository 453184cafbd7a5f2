package fcgi

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"sluice/cgi"
)

// text is n bytes that are not the same everywhere.
func text(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i % 251)
	}
	return string(b)
}

// TestInput: inputs around every border arrive whole, over every transport.
// Where they go out with the request, nothing is left to a goroutine.
func TestInput(t *testing.T) {
	for _, tr := range transports {
		for _, n := range []int{0, 1, 7, 8, 32766, 32767, 32768, 32769, 32770, 65520, 65521, 65535, 65536, 65537, 1 << 20} {
			t.Run(fmt.Sprint(tr.name, " ", n), func(t *testing.T) {
				ours, theirs := tr.dial(t)
				in := text(n)
				appOn(t, theirs, func(a *app) {
					g := a.request()
					if g.stdin != in || !g.ended {
						t.Errorf("%d bytes arrived", len(g.stdin))
					}
					a.say(stdout("ok"), end(0, 0))
				})
				ex := begun(t, ours, &Request{Role: Responder, KeepConn: true, Stdin: strings.NewReader(in)})
				if got := answer(t, ex); got != "ok" {
					t.Errorf("%q", got)
				}
				if ex.uploadDone != nil {
					if n <= inlineLimit {
						t.Error("sent behind the caller's back")
					}
					<-ex.uploadDone
				}
				if ex.Keep() == nil {
					t.Error("the connection is not kept")
				}
			})
		}
	}
}

// TestInputInPieces: how the source gives its bytes does not matter.
func TestInputInPieces(t *testing.T) {
	in := text(100 << 10)
	for name, src := range map[string]io.Reader{
		"byte by byte":             iotest.OneByteReader(strings.NewReader(in)),
		"by halves":                iotest.HalfReader(strings.NewReader(in)),
		"the end with the last":    iotest.DataErrReader(strings.NewReader(in)),
		"a pipe that is filled up": pipeOf(in),
	} {
		nc := start(t, func(a *app) {
			if g := a.request(); g.stdin != in {
				t.Errorf("%s: %d bytes", name, len(g.stdin))
			}
			a.say(end(0, 0))
		})
		answer(t, begun(t, nc, &Request{Role: Responder, Stdin: src}))
	}
}

func pipeOf(s string) io.Reader {
	r, w := io.Pipe()
	go func() {
		io.WriteString(w, s)
		w.Close()
	}()
	return r
}

// TestInputAndAnswerTogether: both directions move at the same time.
func TestInputAndAnswerTogether(t *testing.T) {
	in := text(2 << 20)
	nc := start(t, func(a *app) {
		g := a.begin()
		for {
			rec, err := a.next(g)
			if err != nil || len(rec.content) == 0 {
				break
			}
			a.say(stdout(string(rec.content)))
		}
		a.say(end(0, 0))
	})
	if got := answer(t, begun(t, nc, &Request{Role: Responder, Stdin: strings.NewReader(in)})); got != in {
		t.Errorf("%d bytes came back", len(got))
	}
}

// TestEarlyAnswer: an application that answers, and ends the request, before it
// has read the input.
func TestEarlyAnswer(t *testing.T) {
	for _, n := range []int{100, inlineLimit, 8 << 20} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			nc := start(t, func(a *app) {
				a.begin()
				a.say(stdout("early"), end(0, 0))
				a.Conn.(interface{ CloseWrite() error }).CloseWrite()
				io.Copy(io.Discard, &slowly{a.in})
			})
			ex := begun(t, nc, &Request{Role: Responder, KeepConn: true, Stdin: strings.NewReader(text(n))})
			if got := answer(t, ex); got != "early" {
				t.Errorf("%q", got)
			}
			kept := ex.Keep()
			if n > inlineLimit && kept != nil {
				t.Error("kept in the middle of an upload")
			}
			if n <= inlineLimit && kept == nil {
				t.Error("not kept although all has been sent")
			}
			nc.Close()
		})
	}
}

// slowly takes longer than any test for 8 MiB.
type slowly struct{ io.Reader }

func (s *slowly) Read(p []byte) (int, error) {
	time.Sleep(time.Millisecond)
	return s.Reader.Read(p[:min(len(p), 512)])
}

// TestApplicationStopsReading: it closes its connection in mid-upload, with and
// without the end of the request.
func TestApplicationStopsReading(t *testing.T) {
	for _, ended := range []bool{true, false} {
		nc := start(t, func(a *app) {
			a.begin()
			a.say(stdout("some"))
			if ended {
				a.say(end(0, 0))
			}
		})
		ex := begun(t, nc, &Request{Role: Responder, Stdin: strings.NewReader(text(8 << 20))})
		b, err := io.ReadAll(ex)
		// A reset may overtake what was said before it.
		if err == nil && (string(b) != "some" || !ended) {
			t.Errorf("ended=%v: %q as a whole answer", ended, b)
		}
		if err != nil {
			died(t, err)
		}
		ex.Close(cgi.Stop)
	}
}

// TestInputFails: an application never takes a part of a body for the whole
// (gofast does that, see php-src #12343).
func TestInputFails(t *testing.T) {
	gone := errors.New("the client has gone")
	for _, cause := range []error{gone, os.ErrDeadlineExceeded, io.ErrUnexpectedEOF} {
		for _, n := range []int{0, 100, inlineLimit - 1, inlineLimit, inlineLimit + 1, 100 << 10, 1 << 20} {
			t.Run(fmt.Sprint(cause, " after ", n), func(t *testing.T) {
				ours, theirs := pairOf(t)
				wait := appOn(t, theirs, func(a *app) {
					recs, _ := a.rest()
					for _, rec := range recs {
						if rec.kind == 5 && len(rec.content) == 0 {
							t.Error("an end of the input was sent")
						}
					}
				})
				src := io.MultiReader(strings.NewReader(text(n)), iotest.ErrReader(cause))
				ex, err := Begin(ours, &Request{Role: Responder, KeepConn: true, Stdin: src})
				if err == nil {
					_, err = ex.Read(make([]byte, 10))
					if ex.Keep() != nil {
						t.Error("kept")
					}
				} else if n > inlineLimit {
					t.Errorf("Begin: %v", err)
				}
				var ie *InputError
				if !errors.As(err, &ie) || ie.Err != cause || errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("%v, want an InputError that is not a deadline", err)
				}
				wait()
			})
		}
	}
}

// TestFilter: DATA comes behind STDIN, and each stream ends once.
func TestFilter(t *testing.T) {
	for _, stdin := range []int{-1, 0, 5, inlineLimit, 100 << 10} {
		for _, data := range []int{-1, 0, 5, 100 << 10} {
			t.Run(fmt.Sprint(stdin, " ", data), func(t *testing.T) {
				req := &Request{Role: Filter}
				var in, dat string
				if stdin >= 0 {
					in = text(stdin)
					req.Stdin = strings.NewReader(in)
				}
				if data >= 0 {
					dat = text(data)
					req.Data = strings.NewReader(dat)
				}
				nc := start(t, func(a *app) {
					g := a.request()
					if g.role != 3 || g.stdin != in || g.data != dat || !g.ended {
						t.Errorf("role %d, input %d, data %d", g.role, len(g.stdin), len(g.data))
					}
					a.say(end(0, 0))
					if more, err := a.rest(); err != nil || len(more) > 0 {
						t.Errorf("behind the request: %v, %v", more, err)
					}
				})
				ex := begun(t, nc, req)
				answer(t, ex)
				ex.Close(cgi.Complete)
			})
		}
	}
}

func TestRoles(t *testing.T) {
	for role, want := range map[Role]string{Responder: "responder", Authorizer: "authorizer", Filter: "filter", 9: "role 9", 0x1234: "role 4660"} {
		if role.String() != want {
			t.Error(role, want)
		}
		a := &app{t: t, in: newReader(sent(t, &Request{Role: role}))}
		if g := a.request(); g.role != int(role) {
			t.Errorf("%v came as %d", role, g.role)
		}
	}
}
