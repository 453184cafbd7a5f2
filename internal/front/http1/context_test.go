package http1

import (
	"context"
	"sync"
	"testing"
)

// What is to be called at the end of a request is called once, unless it has been
// taken back; and nobody takes back another's.
func TestRequestContext(t *testing.T) {
	x := &requestContext{}
	var called sync.Map
	var wg sync.WaitGroup
	after := func(name string) func() bool {
		wg.Add(1)
		return x.AfterFunc(func() {
			if _, twice := called.LoadOrStore(name, true); twice {
				t.Errorf("%s is called twice", name)
			}
			wg.Done()
		})
	}
	take := func(name string, stop func() bool, want bool) {
		t.Helper()
		if got := stop(); got != want {
			t.Errorf("%s: taken back %v", name, got)
		} else if got {
			wg.Done()
		}
	}
	early := after("early")
	take("early", early, true)
	first, second, third := after("first"), after("second"), after("third")
	take("early again", early, false)
	take("second", second, true)
	take("second again", second, false)
	derived, stop := context.WithCancel(x)
	defer stop()
	if x.Err() != nil || derived.Err() != nil {
		t.Error("it has ended already")
	}
	x.cancel()
	x.cancel()
	after("late")
	wg.Wait()
	<-derived.Done()
	take("first", first, false)
	take("third", third, false)
	for name, want := range map[string]bool{"early": false, "first": true, "second": false, "third": true, "late": true} {
		if _, got := called.Load(name); got != want {
			t.Errorf("%s: called %v", name, got)
		}
	}
	if x.Err() != context.Canceled {
		t.Error(x.Err())
	}
	<-x.Done()
}
