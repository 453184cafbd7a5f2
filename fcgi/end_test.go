package fcgi

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"sluice/cgi"
)

// TestEndRequest: what END_REQUEST says, and that it is all that ends a request
// well.
func TestEndRequest(t *testing.T) {
	for _, c := range []struct {
		name             string
		app              uint32
		protocol         byte
		ending           cgi.Ending
		refused, unknown bool
		say              string // "" is a good end
	}{
		{"complete", 0, 0, cgi.Ending{}, false, false, ""},
		{"complete, appStatus 3", 3, 0, cgi.Ending{Status: 3}, false, false, ""},
		{"complete, appStatus -1", 1<<32 - 1, 0, cgi.Ending{Status: -1}, false, false, ""},
		{"CANT_MPX_CONN", 0, 1, cgi.Ending{}, true, false, "fcgi: END_REQUEST: CANT_MPX_CONN"},
		{"OVERLOADED", 0, 2, cgi.Ending{}, true, false, "fcgi: END_REQUEST: OVERLOADED"},
		{"OVERLOADED, appStatus 9", 9, 2, cgi.Ending{Status: 9}, true, false, "fcgi: END_REQUEST: OVERLOADED"},
		{"UNKNOWN_ROLE", 0, 3, cgi.Ending{}, false, true, "fcgi: END_REQUEST: UNKNOWN_ROLE"},
		{"another", 0, 77, cgi.Ending{}, false, false, "fcgi: END_REQUEST: protocol status 77"},
	} {
		for _, before := range []string{"", stdout("Status: 200\n\nsome"), stderr("e")} {
			t.Run(c.name, func(t *testing.T) {
				ex := reading(t, play(before+end(c.app, c.protocol)), nil)
				if _, ok := ex.Ended(0); ok {
					t.Error("ended before it was read")
				}
				b, err := io.ReadAll(ex)
				if want := before != "" && before[1] == 6; (len(b) > 0) != want {
					t.Errorf("%q", b)
				}
				var se *StatusError
				switch {
				case c.say == "":
					if err != nil {
						t.Error(err)
					}
				case !errors.As(err, &se) || se.Status != c.protocol || se.Refused() != c.refused || se.UnknownRole() != c.unknown || se.Error() != c.say:
					t.Errorf("%v", err)
				case errors.Is(err, cgi.ErrDied):
					t.Error("a refusal is no death")
				}
				if got, ok := ex.Ended(0); !ok || got != c.ending {
					t.Errorf("%v, %v; want %v", got, ok, c.ending)
				}
				if kept := ex.Keep(); (kept != nil) != (c.say == "") {
					t.Errorf("kept: %v", kept != nil)
				}
			})
		}
	}
}

// TestNoEnd: a connection that ends at any byte before END_REQUEST is whole is
// a death, whatever the application had said.
func TestNoEnd(t *testing.T) {
	stream := stderr("e") + stdout("Status: 200\n\nbody") + rec(9, 1, "xyz", 5) + rec(6, 1, "more", 200) + stdout("") + end(0, 0)
	const said = "Status: 200\n\nbodymore"
	for i := range len(stream) {
		for _, err := range []error{io.EOF, syscall.ECONNRESET, io.ErrUnexpectedEOF, net.ErrClosed} {
			nc := play(stream[:i])
			nc.steps = append(nc.steps, step{err: err})
			ex := reading(t, nc, io.Discard)
			b, got := io.ReadAll(ex)
			died(t, got)
			if err != io.EOF && !errors.Is(got, err) {
				t.Errorf("cut at %d: %v does not tell of %v", i, got, err)
			}
			if !strings.HasPrefix(said, string(b)) {
				t.Errorf("cut at %d: %q", i, b)
			}
			if _, ok := ex.Ended(0); ok {
				t.Errorf("cut at %d: ended", i)
			}
			if _, again := ex.Read(make([]byte, 1)); again != got {
				t.Errorf("cut at %d: then %v", i, again)
			}
			if ex.Keep() != nil || nc.closed != 1 {
				t.Errorf("cut at %d: kept, or closed %d times", i, nc.closed)
			}
		}
	}
}

// TestBadRecords: what ceases to make sense is as a death.
func TestBadRecords(t *testing.T) {
	for _, c := range []struct{ name, stream, say string }{
		{"version 0", "\x00" + stdout("a")[1:], "record of version 0"},
		{"version 2", "\x02" + stdout("a")[1:], "record of version 2"},
		{"HTTP", "HTTP/1.1 400 Bad Request\r\n\r\n", "record of version 72"},
		{"version of a record to be skipped", "\x09" + rec(99, 5, "", 0)[1:], "record of version 9"},
		{"END_REQUEST of 0 bytes", rec(3, 1, "", 0), "END_REQUEST of 0 bytes"},
		{"END_REQUEST of 7 bytes", rec(3, 1, "1234567", 1), "END_REQUEST of 7 bytes"},
	} {
		for _, before := range []string{"", stdout("some")} {
			t.Run(c.name, func(t *testing.T) {
				ex := reading(t, play(before+c.stream+end(0, 0)), nil)
				_, err := io.ReadAll(ex)
				died(t, err)
				if err == nil || !strings.Contains(err.Error(), c.say) {
					t.Errorf("%v, want %q", err, c.say)
				}
				if ex.Keep() != nil {
					t.Error("kept")
				}
			})
		}
	}
}

// TestRealDeaths: closes and resets over every transport.
func TestRealDeaths(t *testing.T) {
	for _, tr := range transports {
		for _, said := range []string{"", stdout("some"), stdout("some")[:11]} {
			t.Run(tr.name, func(t *testing.T) {
				ours, theirs := tr.dial(t)
				appOn(t, theirs, func(a *app) {
					a.request()
					a.say(said)
					if c, ok := a.Conn.(*net.TCPConn); ok && said == "" {
						c.SetLinger(0)
					}
				})
				_, err := io.ReadAll(begun(t, ours, &Request{Role: Responder}))
				died(t, err)
			})
		}
	}
}

func TestErrorTexts(t *testing.T) {
	for want, err := range map[string]error{
		"fcgi: send request: x":   &WriteError{Err: errors.New("x")},
		"fcgi: read the input: x": &InputError{Err: errors.New("x")},
	} {
		if err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
	}
	if _, err := reading(t, play(), nil).Read(make([]byte, 1)); err.Error() != "fcgi: child died before the end of its answer: connection closed" {
		t.Error(err)
	}
	for kind, want := range map[recordType]string{1: "BEGIN_REQUEST", 2: "ABORT_REQUEST", 3: "END_REQUEST", 4: "PARAMS", 5: "STDIN",
		6: "STDOUT", 7: "STDERR", 8: "DATA", 11: "UNKNOWN_TYPE", 77: "type 77"} {
		if kind.String() != want {
			t.Errorf("%q, want %q", kind, want)
		}
	}
	if err := reading(t, play(), nil); err.SetReadDeadline(noTime) != nil {
		t.Error("SetReadDeadline")
	}
	ex := reading(t, play(), nil)
	ex.Close(cgi.Stop)
	if _, err := ex.Read(make([]byte, 1)); !errors.Is(err, os.ErrClosed) {
		t.Error("Read after Close:", err)
	}
	if err := ex.SetReadDeadline(noTime); !errors.Is(err, os.ErrClosed) {
		t.Error("SetReadDeadline after Close:", err)
	}
}
