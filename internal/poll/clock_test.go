package poll

import (
	"testing"
	"time"
)

// The clock does not go back where one that looked at the time earlier notes it
// later: who waits for a deadline that has passed would wait for ever.
func TestClockGoesForth(t *testing.T) {
	s, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	early := int64(time.Since(s.base))
	late := early + int64(time.Hour)
	s.advance(late)
	s.advance(early)
	s.Now()
	if now := s.now.Load(); now != late {
		t.Errorf("the clock went back by %v", time.Duration(late-now))
	}
}
