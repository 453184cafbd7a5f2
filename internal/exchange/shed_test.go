package exchange

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"sluice/sendfile"
)

// What an error of a send means: refused for the disk, nothing has been sent.
func TestSendError(t *testing.T) {
	busy := &sendfile.Error{Op: "read", Status: 503, Err: sendfile.ErrBusy}
	for _, c := range []struct {
		err     error
		kind    Kind
		started bool
		retry   int
	}{
		{busy, FileShed, false, 1},
		{fmt.Errorf("send: %w", io.ErrUnexpectedEOF), FileBroken, true, 0},
		{errors.New("reset"), SendFailed, true, 0},
	} {
		if e := SendError(c.err); e.Kind != c.kind || e.Started != c.started || e.RetryAfter != c.retry || !errors.Is(e, c.err) {
			t.Errorf("%v: %+v", c.err, e)
		}
		x := &run{pid: 7, address: "unix:/x"}
		var e *Error
		if err := x.sent(c.err); !errors.As(err, &e) || e.PID != 7 || e.Address != "unix:/x" || e.Kind != c.kind {
			t.Errorf("of a child: %+v", err)
		}
	}
	var e *Error
	if err := (&run{}).fileError(busy); !errors.As(err, &e) || e.Kind != FileShed || e.Kind.Status() != 503 {
		t.Errorf("a name that is not in memory: %v", err)
	}
}
